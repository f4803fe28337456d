# From a fresh clone: `make run` serves, `make test` runs the tests, `make lint` checks the code.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test lint clean
.DEFAULT_GOAL := run

run: $(VENV)/serving
	@exec $(BIN)/python manage.py serve

test: $(VENV)/testing
	$(BIN)/python -m pytest -n auto --dist loadscope

lint: $(VENV)/testing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .
	REGISTRY_DATA_DIR=$$(mktemp -d) $(BIN)/python manage.py makemigrations --check --dry-run

# One stamp for each set of packages; a changed lock file installs it again.
$(VENV)/serving: deploy/requirements.txt $(BIN)/python
	@echo "Installing the packages of the registry into $(VENV) …"
	@$(call install,deploy/requirements.txt)
	@touch $@

$(VENV)/testing: deploy/requirements-dev.txt $(BIN)/python
	@echo "Installing the packages of the tests into $(VENV) …"
	@$(call install,deploy/requirements-dev.txt)
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is required; name it: make PYTHON=python3.11")'
	@echo "Creating the virtual environment $(VENV) …"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r deploy/requirements-uv.txt \
		|| echo "uv is not available; pip installs the packages instead, which takes longer."

# uv is several times faster. pip is the fallback where uv is missing or cannot reach the packages.
install = $(BIN)/uv pip install -q --python $(BIN)/python --require-hashes -r $(1) \
	|| $(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r $(1)

clean:
	rm -rf $(VENV)

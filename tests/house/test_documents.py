"""What is written can be contradicted here."""

import os
import re
import tomllib
from pathlib import Path

import pytest
from django.core.management import call_command

from registry_site.settings import REGISTRY

ROOT = Path(__file__).resolve().parent.parent.parent
LOCKS = sorted((ROOT / "deploy").glob("requirements*.txt"))


def test_documents_have_exactly_the_settings() -> None:
    table = re.findall(r"^\| `(REGISTRY_[A-Z0-9_]+)`", (ROOT / "docs" / "settings.md").read_text(), re.MULTILINE)
    assert sorted(table) == sorted(REGISTRY.names)


@pytest.mark.django_db
def test_models_and_migrations_agree() -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_lock_files_have_hashes_and_no_addresses(lock: Path) -> None:
    text = lock.read_text()
    assert "://" not in text
    assert all("--hash=sha256:" in entry for entry in re.split(r"\n(?=[a-z])", text.strip()))


def test_everything_that_is_asked_for_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {re.split(r"[\[<>=]", name)[0] for name in project["dependencies"]}
    locked = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / "deploy" / "requirements.txt").read_text(), re.MULTILINE))
    assert wanted <= locked


def test_architecture_names_every_module() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    rooms = ("registry_site", "accounts", "crates", "namespaces", "packages", "files")
    modules = [
        path for room in rooms for path in (ROOT / room).glob("*.py") if path.name not in ("__init__.py", "apps.py")
    ]
    assert [path.name for path in modules if f"`{path.name}`" not in text] == []


def test_scripts_can_be_run() -> None:
    assert all(os.access(ROOT / script, os.X_OK) for script in (".ci/run", "manage.py"))

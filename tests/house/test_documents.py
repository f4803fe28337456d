"""Documents, lock files and migrations that agree with the code."""

import os
import re
import tomllib
from pathlib import Path

import pytest
from django.core.management import call_command

from registry_site.settings import REGISTRY
from tests.house.source_code import MAY_IMPORT, ROOT, modules, name_of

LOCKS = sorted((ROOT / "deploy").glob("requirements*.txt"))


def test_documents_have_exactly_the_settings() -> None:
    table = re.findall(r"^\| `(REGISTRY_[A-Z0-9_]+)`", (ROOT / "docs" / "settings.md").read_text(), re.MULTILINE)
    assert sorted(table) == sorted(REGISTRY.readings)


@pytest.mark.django_db
def test_models_and_migrations_agree() -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_lock_files_have_hashes_and_no_addresses(lock: Path) -> None:
    text = lock.read_text()
    assert "://" not in text
    assert all("--hash=sha256:" in entry for entry in re.split(r"\n(?=[a-z])", text.strip()))


def test_every_dependency_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    dependencies = {re.split(r"[\[<>=]", name)[0] for name in project["dependencies"]}
    locked = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / "deploy" / "requirements.txt").read_text(), re.MULTILINE))
    assert dependencies <= locked


def test_architecture_names_every_module() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    unnamed = []
    for room in MAY_IMPORT:
        for path in modules(room):
            name = path.relative_to(ROOT / room)
            if name.name in ("__init__.py", "apps.py") or "commands" in name.parts or name.parts[0] == "sqlite":
                continue
            # The row of the mirror names its modules without their folder.
            shown = name.stem if name.parts[0] == "mirror" else str(name)
            if f"`{shown}`" not in text:
                unnamed.append(name_of(path))
    assert unnamed == []


def test_scripts_are_executable() -> None:
    assert all(os.access(ROOT / script, os.X_OK) for script in (".ci/run", "manage.py"))

"""The settings as a new process reads them from its environment."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.servers import ROOT

PRINT_SETTINGS = """
import json
from registry_site import settings as s
names = [n for n in dir(s) if n.isupper()]
print(json.dumps({n: getattr(s, n) for n in names}, default=str))
"""
PRINT_REFUSALS = """
import json, os, runpy, sys
from django.core.exceptions import ImproperlyConfigured
refusals = {}
for name, value in json.load(sys.stdin).items():
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        runpy.run_module("registry_site.settings")
        refusals[name] = ""
    except ImproperlyConfigured as error:
        refusals[name] = str(error)
    os.environ.pop(name)
    if before is not None:
        os.environ[name] = before
print(json.dumps(refusals))
"""


def run_python(data: Path, *arguments: str, text: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    """Run our interpreter with these `REGISTRY_*` variables and no others, and `text` as its input."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_")}
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    environment |= {"REGISTRY_DATA_DIR": str(data)}
    environment |= {f"REGISTRY_{name}": value for name, value in variables.items()}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, input=text, capture_output=True, text=True, check=False)


def read_settings(data: Path, **variables: str) -> dict[str, Any]:
    """Return all settings of a new process."""
    done = run_python(data, "-W", "error", "-c", PRINT_SETTINGS, **variables)
    assert done.returncode == 0, done.stderr
    printed: dict[str, Any] = json.loads(done.stdout)
    return printed


def read_refusals(data: Path, values: dict[str, str]) -> dict[str, str]:
    """Return for each variable the sentence with which its value is refused; empty if the value is accepted."""
    text = json.dumps({f"REGISTRY_{name}": value for name, value in values.items()})
    done = run_python(data, "-c", PRINT_REFUSALS, text=text)
    assert done.returncode == 0, done.stderr
    return {name.removeprefix("REGISTRY_"): message for name, message in json.loads(done.stdout).items()}

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


def run_python(data: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run our interpreter with these `REGISTRY_*` variables and no others."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_")}
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    environment |= {"REGISTRY_DATA_DIR": str(data)}
    environment |= {f"REGISTRY_{name}": value for name, value in variables.items()}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def read_settings(data: Path, **variables: str) -> dict[str, Any]:
    done = run_python(data, "-W", "error", "-c", PRINT_SETTINGS, **variables)
    assert done.returncode == 0, done.stderr
    printed: dict[str, Any] = json.loads(done.stdout)
    return printed

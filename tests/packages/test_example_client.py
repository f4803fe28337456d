"""The client in `examples/` does what it says, on a server as users have it."""

import json
import re
import subprocess
import sys
from typing import Any
from urllib.request import urlopen

import pytest

from tests.support.servers import ROOT, Server, free_port

STORY = """\
Opened the accounts {name} and {name}-friend, with an app key each.
Created the namespace {name}-tools and made {name}-friend a member.
Published 问候-greeting 1.0.0, N bytes.
Published 问候-greeting 1.1.0, N bytes.
Published 问候-greeting 2.0.0, N bytes.
Searched, and found: {name}-tools/问候-greeting
Downloaded 2.0.0 by {name}: it is what was published.
Downloaded 1.1.0 by {name}-friend: it is what was published.
Downloaded 1.0.0 by {name}: it is what was published.
Marked 2.0.0 as DEPRECATED.
Deleted 问候-greeting.
"""


def run_client(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-X", "utf8", str(ROOT / "examples" / "packages_client.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)


def get(server: Server, path: str) -> Any:
    with urlopen(server.url + path) as answer:
        return json.load(answer)


def test_client_tells_the_life_of_a_package(server: Server) -> None:
    done = run_client(server.url, "alice")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.sub(r"[1-9]\d* bytes", "N bytes", done.stdout) == STORY.format(name="alice")


def test_client_leaves_a_namespace_without_packages(server: Server) -> None:
    assert run_client(f"{server.url}/", "bob").returncode == 0
    left = get(server, "/namespaces/bob-tools")
    assert left["owner"] == "bob"
    assert [(member["username"], member["role"]) for member in left["member"]] == [
        ("bob", "OWNER"),
        ("bob-friend", "MEMBER"),
    ]
    assert get(server, "/namespaces/bob-tools/packages") == get(server, "/packages?query=bob") == []


def test_client_ends_at_a_refusal_with_the_servers_message(server: Server) -> None:
    server.sign_up("charlie")
    done = run_client(server.url, "charlie")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "The registry refuses. POST /register: 400 the user identified 'ktra-secure-auth:charlie' already exists\n"
    )


def test_client_says_that_nobody_answers() -> None:
    done = run_client(f"http://127.0.0.1:{free_port()}", "alice")
    assert (done.returncode, done.stdout) == (1, "")
    assert "cannot be reached" in done.stderr


@pytest.mark.parametrize("arguments", [[], ["http://127.0.0.1:8000"], ["127.0.0.1:8000", "alice"]])
def test_client_says_how_it_is_used(arguments: list[str]) -> None:
    done = run_client(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Usage: python3 ")

"""The packages client in `examples/`, against a running server."""

import html
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Sequence
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import HTTPCookieProcessor, OpenerDirector, Request, build_opener, urlopen

import pytest

from tests.support.servers import ROOT, Server, free_port

pytestmark = pytest.mark.database_independent

OUTPUT = """\
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
Published, downloaded and deleted @greetings/hello 1.0.0, a package of npm.
Published, downloaded and deleted 问候 1:2.3-1, a package of debian.
"""


def run_client(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-X", "utf8", str(ROOT / "examples" / "packages_client.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)


def get(server: Server, path: str) -> Any:
    with urlopen(server.url + path) as answer:
        return json.load(answer)


def test_client_prints_each_step(server: Server) -> None:
    done = run_client(server.url, "alice")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.sub(r"[1-9]\d* bytes", "N bytes", done.stdout) == OUTPUT.format(name="alice")


PACKAGES = [
    ("@scope/name", "npm", "1.0.0"),
    ("数据库", "debian", "1:2.3-1"),
    ("инструмент", "python", "2024.11"),
    ("g++", "debian", "50%?#"),
    ("tool", "go", "v1.0.0"),
]


def test_client_fetches_any_names_and_versions(server: Server) -> None:
    client = runpy.run_path(str(ROOT / "examples" / "packages_client.py"))
    registry = client["Registry"].sign_up(server.url, "dora", "a password of dora's")
    archive = client["pack"]({"a": "b"})
    fetched = []
    for name, field, version in PACKAGES:
        fields = {"package_name": name, "field": field, "version": version}
        registry.upload("POST", "/namespaces/dora/packages", fields, archive)
        path = f"/namespaces/dora/packages/{quote(name, safe='')}/versions"
        assert registry.download(f"{path}/{quote(version, safe='')}/download") == archive
        fetched.append((name, field, registry.request("GET", path)[0]["version"]))
    assert fetched == PACKAGES


def test_client_leaves_an_empty_namespace(server: Server) -> None:
    assert run_client(f"{server.url}/", "bob").returncode == 0
    namespace = get(server, "/namespaces/bob-tools")
    assert namespace["owner"] == "bob"
    assert [(member["username"], member["role"]) for member in namespace["member"]] == [
        ("bob", "OWNER"),
        ("bob-friend", "MEMBER"),
    ]
    assert get(server, "/namespaces/bob-tools/packages") == get(server, "/packages?query=bob") == []


def test_client_ends_at_a_refusal(server: Server) -> None:
    server.sign_up("charlie")
    done = run_client(server.url, "charlie")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "The registry refuses. POST /register: 400 the user identified 'ktra-secure-auth:charlie' already exists\n"
    )


def test_unreachable_server_is_reported() -> None:
    done = run_client(f"http://127.0.0.1:{free_port()}", "alice")
    assert (done.returncode, done.stdout) == (1, "")
    assert "cannot be reached" in done.stderr


def test_wrong_arguments_print_the_usage() -> None:
    for arguments in ([], ["http://127.0.0.1:8000"], ["127.0.0.1:8000", "alice"]):
        done = run_client(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("Usage: python3 ")


# --- The lines that pages of packages have to copy -------------------------------------------------------------------


def lines_of(page: str) -> dict[str, str]:
    """Return the lines to copy by their names."""
    lines = re.findall(r'<div class="copied"><pre id="([^"]+)" tabindex="0"><code>(.*?)</code>', page)
    return {name: html.unescape(line) for name, line in lines}


def run_lines(lines: Sequence[str], directory: Path) -> subprocess.CompletedProcess[str]:
    script = "set -e\n" + "\n".join(lines)
    quiet = {**os.environ, "npm_config_audit": "false", "npm_config_fund": "false", "npm_config_cache": str(directory)}
    return subprocess.run(["sh", "-c", script], cwd=directory, env=quiet, capture_output=True, text=True, check=False)


def get_page(opener: OpenerDirector, url: str) -> str:
    with opener.open(Request(url, headers={"Accept": "text/html"})) as answer:
        return str(answer.read().decode())


def test_lines_of_pages_fetch_the_archives(server: Server, tmp_path: Path) -> None:
    client = runpy.run_path(str(ROOT / "examples" / "packages_client.py"))
    password = "a password of fay's"
    registry = client["Registry"].sign_up(server.url, "fay", password)
    archive = client["pack"]({"package/package.json": '{"name": "@fay/it", "version": "1.0.0"}'})
    for name, field, version, kind in (
        ("@fay/it", "npm", "1.0.0", "PUBLIC"),
        ("it+s", "debian", "1:2 'x'", "PUBLIC"),
        ("hidden", "go", "1.0.0", "PRIVATE"),
    ):
        new = {"package_name": name, "field": field, "version": version, "type": kind}
        registry.upload("POST", "/namespaces/fay/packages", new, archive)
    browser = build_opener(HTTPCookieProcessor(CookieJar()))
    body = json.dumps({"username": "fay", "password": password}).encode()
    browser.open(Request(f"{server.url}/login", body, {"Content-Type": "application/json"})).close()
    shown = [
        lines_of(get_page(browser, f"{server.url}/namespaces/fay/packages/{name}"))
        for name in ("@fay/it", "it+s", "hidden")
    ]
    assert [list(lines) for lines in shown] == [
        ["curl", "check", "npm"],
        ["curl", "check"],
        ["log-in", "curl", "check"],
    ]
    lines = [line.replace("PASSWORD", password.replace("'", "'\\''")) for each in shown for line in each.values()]
    done = run_lines([line for line in lines if not line.startswith("npm")], tmp_path)
    assert (done.returncode, done.stdout.count(": OK")) == (0, 3), done.stderr
    names = {"fay-it-1.0.0.tgz", "it+s-1-2 'x'.tgz", "hidden-1.0.0.tgz"}
    assert {path.name for path in tmp_path.glob("*.tgz")} == names
    if shutil.which("npm"):
        (tmp_path / "package.json").write_text("{}")
        done = run_lines([shown[0]["npm"]], tmp_path)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "node_modules" / "@fay" / "it" / "package.json").exists()


def test_lines_of_a_namespace_publish_a_package(server: Server, tmp_path: Path) -> None:
    client = runpy.run_path(str(ROOT / "examples" / "packages_client.py"))
    client["Registry"].sign_up(server.url, "gil", "a password of gil")
    browser = build_opener(HTTPCookieProcessor(CookieJar()))
    body = json.dumps({"username": "gil", "password": "a password of gil"}).encode()
    browser.open(Request(f"{server.url}/login", body, {"Content-Type": "application/json"})).close()
    lines = lines_of(get_page(browser, f"{server.url}/namespaces/gil"))
    (tmp_path / "ARCHIVE.tgz").write_bytes(client["pack"]({"package/a.txt": "a"}))
    done = run_lines([line.replace("PASSWORD", "a password of gil") for line in lines.values()], tmp_path)
    assert done.returncode == 0, done.stderr
    assert list(lines_of(get_page(browser, f"{server.url}/namespaces/gil/packages/NAME"))) == ["curl", "check", "npm"]

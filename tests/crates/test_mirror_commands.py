"""`manage.py mirror`, in front of a second instance of this registry: prefetch, verify, prune, export and import."""

import json
import os
import shutil
from collections.abc import Iterator
from datetime import timedelta
from hashlib import sha256
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import F
from django.test import Client
from django.test.utils import CaptureQueriesContext

from crates import names
from crates.mirror import downloads, overrides
from crates.mirror.models import STORE, CachedCrate, CachedIndexFile, Incident, Override
from registry_site.errors import NotFound
from registry_site.models import AuditEvent
from registry_site.storage import blobs as storage
from tests.support import packing
from tests.support.servers import Server, running

pytestmark = pytest.mark.django_db

PUBLISHED = {
    **{("leaf", version): {} for version in ("1.0.0", "1.1.0", "2.0.0-rc.1")},
    ("build-time", "0.1.0"): {},
    ("for-tests", "0.1.0"): {},
    ("Mixed-Case", "1.0.0+b"): {},
    ("optional", "0.1.0"): {},
    ("middle", "0.3.0"): {"deps": [packing.dependency("leaf", "~1.0")]},
    ("top", "1.0.0"): {
        "deps": [
            packing.dependency("middle", "^0.3"),
            packing.dependency("leaf", "^1"),
            packing.dependency("Mixed-Case", "1", explicit_name_in_toml="mixed"),
            packing.dependency("build-time", "*", kind="build"),
            packing.dependency("for-tests", "*", kind="dev"),
            packing.dependency("optional", "*", optional=True),
        ]
    },
}
NEEDED_BY_TOP = {
    "top@1.0.0",
    "middle@0.3.0",
    "leaf@1.0.0",
    "leaf@1.1.0",
    "mixed-case@1.0.0+b",
    "build-time@0.1.0",
}


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("upstream") / "data", REGISTRY_MIRROR="off", REGISTRY_WORKERS="1") as server:
        token = server.sign_up("alice")
        for (name, version), changes in PUBLISHED.items():
            manifest = packing.manifest(name, version)
            for dependency in changes.get("deps", []):
                manifest += dependency_table(dependency, f"sparse+{server.url}/index/")
            body = packing.body(name, version, manifest, **changes)
            request = Request(f"{server.url}/api/v1/crates/new", body, {"Authorization": token}, method="PUT")
            with urlopen(request) as response:
                assert response.status == 200
        yield server


def dependency_table(dependency: dict[str, Any], registry: str) -> str:
    """Return the table of a dependency in a manifest."""
    kind = {"normal": "dependencies", "build": "build-dependencies", "dev": "dev-dependencies"}[dependency["kind"]]
    name = dependency.get("explicit_name_in_toml") or dependency["name"]
    lines = [f"[{kind}.{name}]", f'version = "{dependency["version_req"]}"', f'registry-index = "{registry}"']
    lines += [f'package = "{dependency["name"]}"'] if name != dependency["name"] else []
    lines += ["optional = true"] if dependency["optional"] else []
    return "\n".join(lines) + "\n"


@pytest.fixture(autouse=True)
def mirror(upstream: Server, mirror_bytes: Path, settings: Any) -> None:
    """An empty mirror of the upstream."""
    settings.MIRROR_UPSTREAM = [f"{upstream.url}/index/"]
    settings.MIRROR_INDEX_TTL = 10**6


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the exported mirror of `top` and its dependencies."""
    run("prefetch", "top")
    run("export", tmp_path / "folder")
    return tmp_path / "folder"


@pytest.fixture
def offline(folder: Path, mirror_bytes: Path, settings: Any) -> None:
    """After the export the mirror is empty and offline."""
    CachedCrate.objects.all().delete()
    CachedIndexFile.objects.all().delete()
    shutil.rmtree(mirror_bytes)
    settings.MIRROR_OFFLINE = True


def run(*arguments: Any) -> str:
    """Return the output of the command."""
    output = StringIO()
    call_command("mirror", *map(str, arguments), stdout=output)
    return output.getvalue()


def run_failing(*arguments: Any) -> tuple[int, str, str]:
    """Return exit code, output and errors of the command, which has to fail."""
    output = StringIO()
    with pytest.raises(CommandError) as error:
        call_command("mirror", *map(str, arguments), stdout=output)
    return error.value.returncode, output.getvalue(), str(error.value)


def cached() -> set[str]:
    return {str(crate) for crate in CachedCrate.objects.all()}


def blobs(mirror_bytes: Path) -> dict[str, Path]:
    return {path.name: path for path in mirror_bytes.rglob("*") if path.is_file()}


def damage(mirror_bytes: Path, crate: CachedCrate) -> None:
    path = blobs(mirror_bytes)[crate.sha256]
    path.chmod(0o600)
    path.write_bytes(b"?" + path.read_bytes()[1:])


def write_list(tmp_path: Path, text: str) -> Path:
    (tmp_path / "list").write_text(text)
    return tmp_path / "list"


# --- prefetch ----------------------------------------------------------------------------------------------------


def test_crate_is_fetched_with_its_dependencies() -> None:
    assert run("prefetch", "top") == "6 fetched, 0 were here before.\n"
    assert cached() == NEEDED_BY_TOP


def test_prefetch_is_recorded() -> None:
    run("prefetch", "leaf@=1.0.0")
    event = AuditEvent.objects.get(action="mirror.prefetch")
    assert (event.actor_name, event.target, event.detail) == ("operator", "leaf@=1.0.0", {"fetched": 1})


def test_second_prefetch_fetches_nothing() -> None:
    run("prefetch", "top")
    assert run("prefetch", "top") == "0 fetched, 6 were here before.\n"


def test_newest_matching_version_is_fetched() -> None:
    cases = {
        "leaf": "leaf@1.1.0",
        "leaf@=1.0.0": "leaf@1.0.0",
        "leaf@~1.0": "leaf@1.0.0",
        "leaf@2.0.0-rc.1": "leaf@2.0.0-rc.1",
    }
    for source, expected in cases.items():
        CachedCrate.objects.all().delete()
        run("prefetch", source)
        assert cached() == {expected}, source


def test_stored_bytes_are_those_of_upstream(mirror_bytes: Path) -> None:
    run("prefetch", "leaf@=1.0.0")
    assert [path.read_bytes() for path in blobs(mirror_bytes).values()] == [packing.crate("leaf", "1.0.0")]


def test_list_is_fetched(tmp_path: Path) -> None:
    path = write_list(tmp_path, "# the old one\nleaf 1.0.0\n\n  leaf@1.1.0 # and the new one\nMixed-Case 1.0.0+b\n")
    assert run("prefetch", path) == "3 fetched, 0 were here before.\n"
    assert cached() == {"leaf@1.0.0", "leaf@1.1.0", "mixed-case@1.0.0+b"}


def test_lock_file_is_fetched_without_other_sources(tmp_path: Path) -> None:
    (tmp_path / "Cargo.lock").write_text("""
version = 4
[[package]]
name = "mine"
version = "0.1.0"
[[package]]
name = "leaf"
version = "1.0.0"
source = "registry+https://github.com/rust-lang/crates.io-index"
[[package]]
name = "middle"
version = "0.3.0"
source = "sparse+https://index.crates.io/"
[[package]]
name = "top"
version = "1.0.0"
source = "git+https://example.com/top#0123456"
""")
    assert run("prefetch", tmp_path / "Cargo.lock") == "2 fetched, 0 were here before.\n"
    assert cached() == {"leaf@1.0.0", "middle@0.3.0"}


def test_unknown_version_does_not_stop_the_rest(tmp_path: Path) -> None:
    path = write_list(tmp_path, "aaaa 1.0.0\nleaf 1.0.0\nleaf 9.9.9\ntop 1.0.0\n")
    code, output, errors = run_failing("prefetch", path)
    assert (code, output) == (1, "2 fetched, 0 were here before.\n")
    assert errors.splitlines() == [
        "aaaa@1.0.0: There is no version '1.0.0' of a crate 'aaaa' in the mirror: upstream has none of this name.",
        "leaf@9.9.9: There is no version '9.9.9' of a crate 'leaf' in the mirror.",
    ]
    assert cached() == {"leaf@1.0.0", "top@1.0.0"}


def test_unusable_source_fails_in_one_line() -> None:
    cases = {
        "nope!": "nope! is no file, and no crate such as serde or serde@1.0",
        "missing/Cargo.lock": "missing/Cargo.lock is no file, and no crate such as serde or serde@1.0",
        "leaf@latest": "The version requirement 'latest' is not understood: ",
        "leaf@^7": "There is no version ^7 of a crate leaf upstream.",
        "aaaa": "There is no ",
    }
    for source, start in cases.items():
        code, output, errors = run_failing("prefetch", source)
        assert (code, output, len(errors.splitlines())) == (1, "", 1), source
        assert errors.startswith(start), errors


def test_unreadable_file_fails_in_one_line(tmp_path: Path) -> None:
    files = [
        ("list", b"leaf 1.0.0 extra"),
        ("list", b"leaf"),
        ("list", b"\xff\xfe"),
        ("Cargo.lock", b"= nonsense"),
        ("Cargo.lock", b"package = 1"),
        ("Cargo.lock", b'[[package]]\nsource = "registry+https://x/"'),
        ("Cargo.lock", b"\xff\xfe"),
    ]
    for name, content in files:
        (tmp_path / name).write_bytes(content)
        code, output, errors = run_failing("prefetch", tmp_path / name)
        assert (code, output, len(errors.splitlines())) == (1, "", 1), content


def test_reserved_name_is_not_fetched(settings: Any) -> None:
    settings.PRIVATE_NAMES = ["lea*"]
    assert run_failing("prefetch", "leaf")[0] == 1
    assert not CachedIndexFile.objects.exists()


# --- status ------------------------------------------------------------------------------------------------------


def test_status_of_an_empty_mirror(upstream: Server) -> None:
    assert run("status") == f"Upstream: {upstream.url}/index/\n0 crates known, 0 files kept, 0.0 MB.\n"


def test_status_shows_totals_and_incidents(mirror_bytes: Path, settings: Any) -> None:
    run("prefetch", "leaf")
    damage(mirror_bytes, CachedCrate.objects.get())
    run_failing("verify")
    settings.MIRROR_OFFLINE = True
    first, second, third = run("status").splitlines()
    assert first.endswith("/index/ (offline)")
    assert second == "1 crates known, 0 files kept, 0.0 MB."
    assert third.endswith(" leaf@1.1.0: the bytes that were kept are damaged or gone (1 times)")


# --- verify ------------------------------------------------------------------------------------------------------


def test_intact_files_are_verified() -> None:
    run("prefetch", "top")
    assert run("verify") == "6 files are as they should be.\n"


def test_damaged_and_lost_files_are_deleted(mirror_bytes: Path) -> None:
    run("prefetch", "top")
    damage(mirror_bytes, CachedCrate.objects.get(name="middle"))
    blobs(mirror_bytes)[CachedCrate.objects.get(name="top").sha256].unlink()
    code, output, errors = run_failing("verify")
    assert (code, output) == (1, "4 files are as they should be.\n")
    assert sorted(errors.splitlines()) == [
        "middle@0.3.0 was damaged, and is forgotten",
        "top@1.0.0 was damaged, and is forgotten",
    ]
    assert cached() == NEEDED_BY_TOP - {"middle@0.3.0", "top@1.0.0"}
    assert set(blobs(mirror_bytes)) == set(CachedCrate.objects.values_list("sha256", flat=True))
    assert {str(incident) for incident in Incident.objects.all()} == {
        "middle@0.3.0: stored bytes are damaged or gone",
        "top@1.0.0: stored bytes are damaged or gone",
    }


def test_damaged_file_is_fetched_at_its_next_request(mirror_bytes: Path) -> None:
    run("prefetch", "leaf")
    damage(mirror_bytes, CachedCrate.objects.get())
    run_failing("verify")
    response = Client().get("/ktra/api/v1/mirror/leaf/1.1.0/download")
    assert b"".join(response) == packing.crate("leaf", "1.1.0")
    assert run("verify") == "1 files are as they should be.\n"


LINKED = packing.crate_around(packing.entry(kind=b"2", linkname=b"/etc/passwd"))


def store_crate_with_a_link(upstream: str) -> CachedCrate:
    blob = storage.put(BytesIO(LINKED), store=STORE)
    return CachedCrate.objects.create(
        name="linked", version="1.0.0", sha256=blob.sha256, size=blob.size, upstream=upstream
    )


def test_crates_with_links_are_deleted() -> None:
    run("prefetch", "leaf")
    crate = store_crate_with_a_link("https://private.example.com/")
    assert run("verify") == "2 files are as they should be.\n"
    code, output, errors = run_failing("verify", "--archives")
    assert (code, output) == (1, "1 files are as they should be.\n")
    assert errors.startswith("linked@1.0.0 is forgotten, for https://private.example.com/ is private: it sends ")
    assert "contains a symbolic link" in errors
    assert cached() == {"leaf@1.1.0"}
    with pytest.raises(NotFound):
        crate.blob().read()


def test_links_of_crates_io_are_kept() -> None:
    store_crate_with_a_link("https://index.crates.io/")
    assert run("verify", "--archives") == "1 files are as they should be.\n"


# --- prune -------------------------------------------------------------------------------------------------------


def age(days: int, name: str) -> None:
    CachedCrate.objects.filter(name=name).update(last_used_at=F("last_used_at") - timedelta(days=days))


def test_unused_files_are_pruned(mirror_bytes: Path) -> None:
    run("prefetch", "top")
    age(180, "leaf")
    age(179, "top")
    assert run("prune") == "2 of 2 files are deleted. All have 0.0 MB.\n"
    assert cached() == {name for name in NEEDED_BY_TOP if not name.startswith("leaf")}
    assert set(blobs(mirror_bytes)) == set(CachedCrate.objects.values_list("sha256", flat=True))


def test_broken_storage_ends_the_prune(mirror_bytes: Path) -> None:
    run("prefetch", "leaf")
    age(200, "leaf")
    shutil.rmtree(mirror_bytes)
    mirror_bytes.write_text("a file in the place of the directory")
    with pytest.raises(CommandError, match="cannot delete files at present"):
        run("prune")
    assert cached() == {"leaf@1.1.0"}


def test_dry_run_deletes_nothing(mirror_bytes: Path) -> None:
    run("prefetch", "leaf")
    age(10, "leaf")
    assert run("prune", "--days", "9", "--dry-run") == "1 files, 0.0 MB, would be deleted.\n"
    assert (cached(), len(blobs(mirror_bytes))) == ({"leaf@1.1.0"}, 1)


def test_download_counts_as_use() -> None:
    run("prefetch", "leaf")
    age(2, "leaf")
    downloads.get_crate("leaf", "1.1.0")
    assert run("prune", "--days", "1") == "0 of 0 files are deleted. All have 0.0 MB.\n"


def test_bytes_of_another_crate_stay(mirror_bytes: Path) -> None:
    run("prefetch", "leaf")
    crate = CachedCrate.objects.get()
    CachedCrate.objects.create(name="twin", version="1.0.0", sha256=crate.sha256, size=crate.size)
    age(200, "leaf")
    assert run("prune") == "1 of 1 files are deleted. All have 0.0 MB.\n"
    assert (cached(), list(blobs(mirror_bytes))) == ({"twin@1.0.0"}, [crate.sha256])


# --- export ------------------------------------------------------------------------------------------------------


def contents(folder: Path) -> dict[str, Any]:
    files: dict[str, Any] = {
        str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }
    return {**files, "mirror.json": json.loads(files["mirror.json"])}


def test_folder_has_index_and_crates(folder: Path, upstream: Server) -> None:
    files = contents(folder)
    assert files.pop("mirror.json") == {
        "format": 1,
        "upstreams": dict.fromkeys(["build-time", "leaf", "middle", "mixed-case", "top"], f"{upstream.url}/index/"),
    }
    index = ("bu/il/build-time", "le/af/leaf", "mi/dd/middle", "mi/xe/mixed-case", "3/t/top")
    crates = [name.split("@") for name in sorted(NEEDED_BY_TOP)]
    assert set(files) == {f"index/{path}" for path in index} | {
        f"crates/{name}/{name}-{version}.crate" for name, version in crates
    }
    with urlopen(f"{upstream.url}/index/le/af/leaf") as response:
        assert files["index/le/af/leaf"] == response.read()
    assert files["crates/leaf/leaf-1.0.0.crate"] == packing.crate("leaf", "1.0.0")


def test_second_export_writes_no_crate_again(folder: Path) -> None:
    before = {path: path.stat().st_ino for path in folder.rglob("*.crate")}
    assert run("export", folder) == f"6 files are in {folder}.\n"
    assert {path: path.stat().st_ino for path in folder.rglob("*.crate")} == before


def test_export_completes_a_folder(folder: Path) -> None:
    before = contents(folder)
    (folder / "crates/leaf/leaf-1.0.0.crate").write_bytes(b"half")
    (folder / "crates/top/top-1.0.0.crate").unlink()
    run("export", folder)
    assert contents(folder) == before


def test_blocked_versions_are_not_exported(tmp_path: Path) -> None:
    run("prefetch", "top")
    for name, requirement in (("leaf", "<1.1"), ("Mixed_Case", "*")):
        overrides.create_override(Override.Kind.BLOCKED, name, requirement, actor=None, reason="Bad.")
    run("export", tmp_path / "folder")
    exported = {path.stem for path in (tmp_path / "folder").rglob("*.crate")}
    names_of_files = {name.replace("@", "-") for name in NEEDED_BY_TOP}
    assert names_of_files - exported == {"leaf-1.0.0", "mixed-case-1.0.0+b"}
    assert not (tmp_path / "folder/index" / names.index_path("mixed-case")).exists()


def test_queries_of_an_export_do_not_grow(tmp_path: Path) -> None:
    counts = []
    for name in ("leaf", "top"):
        run("prefetch", name)
        with CaptureQueriesContext(connection) as queries:
            run("export", tmp_path / name)
        counts.append(len(queries))
    assert counts[0] == counts[1]


def test_export_into_a_file_fails_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, output, errors = run_failing("export", tmp_path / "file")
    assert (code, output, len(errors.splitlines())) == (1, "", 1)


def test_damaged_file_is_not_exported(mirror_bytes: Path, tmp_path: Path) -> None:
    run("prefetch", "leaf")
    damage(mirror_bytes, CachedCrate.objects.get())
    code, _, errors = run_failing("export", tmp_path / "out")
    assert code == 1
    assert "leaf@1.1.0" in errors
    assert not list((tmp_path / "out").rglob("*.crate"))


def test_lost_file_does_not_stop_an_export(mirror_bytes: Path, tmp_path: Path) -> None:
    run("prefetch", "top")
    crate = CachedCrate.objects.get(name="leaf", version="1.0.0")
    blobs(mirror_bytes)[crate.sha256].unlink()
    code, output, errors = run_failing("export", tmp_path / "out")
    assert (code, output) == (1, f"5 files are in {tmp_path / 'out'}.\n")
    assert errors == "leaf@1.0.0 is damaged here: `mirror verify` mends that"
    assert len(list((tmp_path / "out").rglob("*.crate"))) == 5
    assert (tmp_path / "out/mirror.json").exists()


def test_file_of_the_index_is_exported(folder: Path) -> None:
    before = contents(folder)
    other = CachedCrate.objects.get(name="top")
    CachedCrate.objects.create(name="leaf", version="1.0.0", sha256=other.sha256, size=other.size)
    assert run("export", folder) == f"6 files are in {folder}.\n"
    assert contents(folder) == before


# --- import ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("offline")
def test_import_restores_the_export(folder: Path, tmp_path: Path) -> None:
    assert run("import", folder) == "6 files are here now.\n"
    assert cached() == NEEDED_BY_TOP
    run("export", tmp_path / "second")
    assert contents(tmp_path / "second") == contents(folder)


@pytest.mark.usefixtures("offline")
def test_second_import_changes_nothing(folder: Path) -> None:
    run("import", folder)
    before = list(CachedCrate.objects.values())
    assert run("import", folder) == "6 files are here now.\n"
    assert list(CachedCrate.objects.values()) == before


@pytest.mark.usefixtures("offline")
def test_imported_crates_are_served_offline(folder: Path) -> None:
    run("import", folder)
    lines = Client().get("/mirror/index/le/af/leaf").content.splitlines()
    assert [json.loads(line)["vers"] for line in lines] == ["1.0.0", "1.1.0"]
    response = Client().get("/ktra/api/v1/mirror/leaf/1.0.0/download")
    assert b"".join(response) == packing.crate("leaf", "1.0.0")
    assert Client().get("/ktra/api/v1/mirror/leaf/2.0.0-rc.1/download").status_code == 404


@pytest.mark.usefixtures("offline")
def test_damaged_crate_is_not_imported(folder: Path) -> None:
    (folder / "crates/leaf/leaf-1.0.0.crate").write_bytes(b"damaged")
    code, output, errors = run_failing("import", folder)
    assert (code, output) == (1, "5 files are here now.\n")
    assert errors == "leaf@1.0.0 is not what its index says"
    assert cached() == NEEDED_BY_TOP - {"leaf@1.0.0"}


@pytest.mark.usefixtures("offline")
def test_changed_checksum_is_not_imported(folder: Path) -> None:
    run("import", folder)
    body = CachedIndexFile.objects.get(name="middle").body
    index = folder / "index/mi/dd/middle"
    index.write_bytes(index.read_bytes().replace(CachedCrate.objects.get(name="middle").sha256.encode(), b"0" * 64))
    code, output, errors = run_failing("import", folder)
    assert (code, output) == (1, "5 files are here now.\n")
    assert errors.startswith("middle: the checksum of 0.3.0 was ")
    assert CachedIndexFile.objects.get(name="middle").body == body
    assert [str(incident) for incident in Incident.objects.all()] == ["middle: a checksum changed"]


def test_folder_without_a_manifest_is_refused(tmp_path: Path) -> None:
    for content in (None, b"", b"[]", b"{}", b'{"upstreams": 1}', b"\xff", b"[" * 100_000):
        if content is not None:
            (tmp_path / "mirror.json").write_bytes(content)
        code, output, errors = run_failing("import", tmp_path)
        assert (code, output) == (1, "")
        assert errors == f"{tmp_path} is no exported mirror: its mirror.json cannot be read."


@pytest.mark.usefixtures("offline")
def test_odd_index_paths_are_skipped(folder: Path) -> None:
    body = (folder / "index/le/af/leaf").read_bytes()
    for path in ("le/af/wrong-place", "LE/AF/LEAFY", "le/af/leaf.partial", "le/af/...", "de/mo/de mo", "ü/ü"):
        (folder / "index" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "index" / path).write_bytes(body)
    assert run("import", folder) == "6 files are here now.\n"
    assert set(CachedIndexFile.objects.values_list("name", flat=True)) == {name.split("@")[0] for name in NEEDED_BY_TOP}


@pytest.mark.usefixtures("offline")
def test_versions_that_are_no_names_are_skipped(folder: Path) -> None:
    versions = ["../../../secret", "a/b", "..", "1.0.0\0", "1.0.0-" + "a" * 300]
    lines = [json.dumps({"name": "leaf", "vers": version, "cksum": "0" * 64}) for version in versions]
    (folder / "index/le/af/leaf").write_text("\n".join(lines) + "\n")
    assert run("import", folder) == "4 files are here now.\n"


@pytest.mark.usefixtures("offline")
def test_links_out_of_the_folder_are_skipped(folder: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes((folder / "index/le/af/leaf").read_bytes())
    (folder / "index/le/af/leaf").unlink()
    os.symlink(secret, folder / "index/le/af/leaf")
    crate = folder / "crates/top/top-1.0.0.crate"
    crate.rename(tmp_path / "elsewhere.crate")
    os.symlink(tmp_path / "elsewhere.crate", crate)
    run("import", folder)
    assert cached() == {"middle@0.3.0", "mixed-case@1.0.0+b", "build-time@0.1.0"}


@pytest.mark.usefixtures("offline")
def test_circular_links_are_skipped(folder: Path) -> None:
    os.symlink(folder / "index", folder / "index" / "le" / "circle")
    os.symlink("loop", folder / "index" / "le" / "loop")
    assert run("import", folder) == "6 files are here now.\n"


@pytest.mark.usefixtures("offline")
def test_pipes_in_the_folder_are_skipped(folder: Path) -> None:
    (folder / "crates/leaf/leaf-1.0.0.crate").unlink()
    os.mkfifo(folder / "crates/leaf/leaf-1.0.0.crate")
    os.mkfifo(folder / "index/le/af/leafy")
    assert run("import", folder) == "5 files are here now.\n"


@pytest.mark.usefixtures("offline")
def test_imported_reserved_name_is_not_served(folder: Path, settings: Any) -> None:
    settings.PRIVATE_NAMES = ["leaf"]
    run("import", folder)
    with pytest.raises(NotFound):
        downloads.get_crate("leaf", "1.0.0")


@pytest.mark.usefixtures("offline")
def test_crate_with_links_is_not_imported(folder: Path) -> None:
    (folder / "crates/leaf/leaf-9.0.0.crate").write_bytes(LINKED)
    with (folder / "index/le/af/leaf").open("a") as index:
        index.write(json.dumps({"name": "leaf", "vers": "9.0.0", "cksum": sha256(LINKED).hexdigest()}) + "\n")
    code, output, errors = run_failing("import", folder)
    assert (code, output) == (1, "6 files are here now.\n")
    assert errors.startswith("leaf@9.0.0: it sends an archive that is refused here")
    assert cached() == NEEDED_BY_TOP

"""`manage.py mirror` against a second instance of this registry, and into a place without a network."""

import json
import os
import shutil
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import F
from django.test import Client
from django.test.utils import CaptureQueriesContext

from crates import names
from crates.mirror import downloads, overrides
from crates.mirror.models import CachedCrate, CachedIndexFile, Incident, Override
from registry_site.errors import NotFound
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
    place = tmp_path_factory.mktemp("upstream") / "data"
    with running(place, REGISTRY_MIRROR="off", REGISTRY_WORKERS="1") as server:
        token = server.sign_up("alice")
        for (name, version), changes in PUBLISHED.items():
            manifest = packing.manifest(name, version)
            for dependency in changes.get("deps", []):
                manifest += _declared(dependency, f"sparse+{server.url}/index/")
            body = packing.body(name, version, manifest, **changes)
            with urlopen(
                Request(f"{server.url}/api/v1/crates/new", body, {"Authorization": token}, method="PUT")
            ) as answer:
                assert answer.status == 200
        yield server


def _declared(dependency: dict[str, Any], registry: str) -> str:
    """A table of the manifest."""
    kind = {"normal": "dependencies", "build": "build-dependencies", "dev": "dev-dependencies"}[dependency["kind"]]
    name = dependency.get("explicit_name_in_toml") or dependency["name"]
    lines = [f"[{kind}.{name}]", f'version = "{dependency["version_req"]}"', f'registry-index = "{registry}"']
    lines += [f'package = "{dependency["name"]}"'] if name != dependency["name"] else []
    lines += ["optional = true"] if dependency["optional"] else []
    return "\n".join(lines) + "\n"


@pytest.fixture(autouse=True)
def mirror(upstream: Server, tmp_path: Path, settings: Any) -> Path:
    """An empty mirror of the upstream; where its bytes are."""
    settings.MIRROR_UPSTREAM = [f"{upstream.url}/index/"]
    settings.MIRROR_INDEX_TTL = 10**6
    location = tmp_path / "mirror"
    disk = {"BACKEND": "registry_site.storage.disk.DiskBlobs", "OPTIONS": {"location": location}}
    settings.STORAGES = {**settings.STORAGES, "mirror": disk}
    cache.clear()
    return location


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An exported mirror of `top` and what it needs, after which nothing is left here and nobody is to be asked."""
    run("prefetch", "top")
    run("export", tmp_path / "folder")
    return tmp_path / "folder"


@pytest.fixture
def offline(folder: Path, mirror: Path, settings: Any) -> None:
    forget_all(mirror)
    settings.MIRROR_OFFLINE = True


def forget_all(mirror: Path) -> None:
    CachedCrate.objects.all().delete()
    CachedIndexFile.objects.all().delete()
    shutil.rmtree(mirror)


def run(*arguments: Any) -> str:
    """What the command says."""
    said = StringIO()
    call_command("mirror", *map(str, arguments), stdout=said)
    return said.getvalue()


def failure(*arguments: Any) -> tuple[int, str, str]:
    """The status with which it ends, what it says, and what has failed."""
    said = StringIO()
    with pytest.raises(CommandError) as caught:
        call_command("mirror", *map(str, arguments), stdout=said)
    return caught.value.returncode, said.getvalue(), str(caught.value)


def kept() -> set[str]:
    return {str(archive) for archive in CachedCrate.objects.all()}


def blobs(mirror: Path) -> dict[str, Path]:
    return {path.name: path for path in mirror.rglob("*") if path.is_file()}


def damage(mirror: Path, archive: CachedCrate) -> None:
    path = blobs(mirror)[archive.sha256]
    path.chmod(0o600)
    path.write_bytes(b"?" + path.read_bytes()[1:])


def listed(tmp_path: Path, text: str) -> Path:
    (tmp_path / "list").write_text(text)
    return tmp_path / "list"


# --- prefetch ----------------------------------------------------------------------------------------------------


def test_crate_is_fetched_with_all_that_it_needs() -> None:
    assert run("prefetch", "top") == "6 fetched, 0 were here before.\n"
    assert kept() == NEEDED_BY_TOP


def test_second_time_fetches_nothing() -> None:
    run("prefetch", "top")
    assert run("prefetch", "top") == "0 fetched, 6 were here before.\n"


@pytest.mark.parametrize(
    ("asked", "version"),
    [("leaf", "1.1.0"), ("leaf@=1.0.0", "1.0.0"), ("leaf@~1.0", "1.0.0"), ("leaf@2.0.0-rc.1", "2.0.0-rc.1")],
)
def test_crate_is_fetched_by_its_requirement(asked: str, version: str) -> None:
    run("prefetch", asked)
    assert kept() == {f"leaf@{version}"}


def test_bytes_are_those_of_upstream(mirror: Path) -> None:
    run("prefetch", "leaf@=1.0.0")
    assert [path.read_bytes() for path in blobs(mirror).values()] == [packing.crate("leaf", "1.0.0")]


def test_list_is_fetched(tmp_path: Path) -> None:
    place = listed(tmp_path, "# the old one\nleaf 1.0.0\n\n  leaf@1.1.0 # and the new one\nMixed-Case 1.0.0+b\n")
    assert run("prefetch", place) == "3 fetched, 0 were here before.\n"
    assert kept() == {"leaf@1.0.0", "leaf@1.1.0", "mixed-case@1.0.0+b"}


def test_lock_file_is_fetched_without_what_is_no_crate_of_a_registry(tmp_path: Path) -> None:
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
    assert kept() == {"leaf@1.0.0", "middle@0.3.0"}


def test_unknown_version_is_told_and_the_rest_is_fetched(tmp_path: Path) -> None:
    place = listed(tmp_path, "aaaa 1.0.0\nleaf 1.0.0\nleaf 9.9.9\ntop 1.0.0\n")
    status, said, failed = failure("prefetch", place)
    assert (status, said) == (1, "2 fetched, 0 were here before.\n")
    assert failed.splitlines() == [
        "aaaa@1.0.0: There is no version '1.0.0' of a crate 'aaaa' in the mirror.",
        "leaf@9.9.9: There is no version '9.9.9' of a crate 'leaf' in the mirror.",
    ]
    assert kept() == {"leaf@1.0.0", "top@1.0.0"}


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("nope!", "nope! is no file, and no crate such as serde or serde@1.0"),
        ("missing/Cargo.lock", "missing/Cargo.lock is no file, and no crate such as serde or serde@1.0"),
        ("leaf@latest", "The version requirement 'latest' is not understood: "),
        ("leaf@^7", "There is no version ^7 of a crate leaf upstream."),
        ("aaaa", "There is no "),
    ],
)
def test_what_names_nothing_is_told_in_one_line(source: str, told: str) -> None:
    status, said, failed = failure("prefetch", source)
    assert (status, said, len(failed.splitlines())) == (1, "", 1)
    assert failed.startswith(told)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list", b"leaf 1.0.0 extra"),
        ("list", b"leaf"),
        ("list", b"\xff\xfe"),
        ("Cargo.lock", b"= nonsense"),
        ("Cargo.lock", b"package = 1"),
        ("Cargo.lock", b'[[package]]\nsource = "registry+https://x/"'),
        ("Cargo.lock", b"\xff\xfe"),
    ],
)
def test_file_that_is_not_understood_is_told_in_one_line(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    status, said, failed = failure("prefetch", tmp_path / name)
    assert (status, said, len(failed.splitlines())) == (1, "", 1)


def test_reserved_name_is_not_fetched(settings: Any) -> None:
    settings.PRIVATE_NAMES = ["lea*"]
    assert failure("prefetch", "leaf")[0] == 1
    assert not CachedIndexFile.objects.exists()


# --- status ------------------------------------------------------------------------------------------------------


def test_status_of_an_empty_mirror(upstream: Server) -> None:
    assert run("status") == f"Upstream: {upstream.url}/index/\n0 crates known, 0 files kept, 0.0 MB.\n"


def test_status_tells_what_is_kept_and_what_is_wrong(mirror: Path, settings: Any) -> None:
    run("prefetch", "leaf")
    damage(mirror, CachedCrate.objects.get())
    failure("verify")
    settings.MIRROR_OFFLINE = True
    first, second, third = run("status").splitlines()
    assert first.endswith("/index/ (offline)")
    assert second == "1 crates known, 0 files kept, 0.0 MB."
    assert third.endswith(" leaf@1.1.0: the bytes that were kept are damaged or gone (1 times)")


# --- verify ------------------------------------------------------------------------------------------------------


def test_whole_files_are_verified() -> None:
    run("prefetch", "top")
    assert run("verify") == "6 files are as they should be.\n"


def test_damaged_and_lost_files_are_told_and_forgotten(mirror: Path) -> None:
    run("prefetch", "top")
    damage(mirror, CachedCrate.objects.get(name="middle"))
    blobs(mirror)[CachedCrate.objects.get(name="top").sha256].unlink()
    status, said, failed = failure("verify")
    assert (status, said) == (1, "4 files are as they should be.\n")
    assert sorted(failed.splitlines()) == [
        "middle@0.3.0 was damaged, and is forgotten",
        "top@1.0.0 was damaged, and is forgotten",
    ]
    assert kept() == NEEDED_BY_TOP - {"middle@0.3.0", "top@1.0.0"}
    assert set(blobs(mirror)) == set(CachedCrate.objects.values_list("sha256", flat=True))
    assert {str(incident) for incident in Incident.objects.all()} == {
        "middle@0.3.0: other bytes than the index says",
        "top@1.0.0: other bytes than the index says",
    }


def test_damaged_file_is_fetched_again_when_asked_for(mirror: Path) -> None:
    run("prefetch", "leaf")
    damage(mirror, CachedCrate.objects.get())
    failure("verify")
    response = Client().get("/ktra/api/v1/mirror/leaf/1.1.0/download")
    assert b"".join(response) == packing.crate("leaf", "1.1.0")
    assert run("verify") == "1 files are as they should be.\n"


# --- prune -------------------------------------------------------------------------------------------------------


def age(days: int, name: str) -> None:
    CachedCrate.objects.filter(name=name).update(last_used_at=F("last_used_at") - timedelta(days=days))


def test_files_that_nobody_asked_for_in_long_are_deleted(mirror: Path) -> None:
    run("prefetch", "top")
    age(181, "leaf")
    age(179, "top")
    assert run("prune") == "2 files, 0.0 MB, are deleted.\n"
    assert kept() == {one for one in NEEDED_BY_TOP if not one.startswith("leaf")}
    assert set(blobs(mirror)) == set(CachedCrate.objects.values_list("sha256", flat=True))


def test_dry_run_deletes_nothing(mirror: Path) -> None:
    run("prefetch", "leaf")
    age(10, "leaf")
    assert run("prune", "--days", "9", "--dry-run") == "1 files, 0.0 MB, would be deleted.\n"
    assert (kept(), len(blobs(mirror))) == ({"leaf@1.1.0"}, 1)


def test_use_is_noted_once_a_day() -> None:
    run("prefetch", "leaf")
    age(2, "leaf")
    downloads.get_crate("leaf", "1.1.0")
    assert run("prune", "--days", "1") == "0 files, 0.0 MB, are deleted.\n"


def test_bytes_that_another_row_wants_stay(mirror: Path) -> None:
    run("prefetch", "leaf")
    archive = CachedCrate.objects.get()
    CachedCrate.objects.create(name="twin", version="1.0.0", sha256=archive.sha256, size=archive.size)
    age(200, "leaf")
    assert run("prune") == "1 files, 0.0 MB, are deleted.\n"
    assert (kept(), list(blobs(mirror))) == ({"twin@1.0.0"}, [archive.sha256])


# --- export ------------------------------------------------------------------------------------------------------


def contents(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {
        str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }
    return {**found, "mirror.json": json.loads(found["mirror.json"])}


def test_folder_has_index_and_crates(folder: Path, upstream: Server) -> None:
    found = contents(folder)
    assert found.pop("mirror.json") == {
        "format": 1,
        "upstreams": dict.fromkeys(["build-time", "leaf", "middle", "mixed-case", "top"], f"{upstream.url}/index/"),
    }
    index = ("bu/il/build-time", "le/af/leaf", "mi/dd/middle", "mi/xe/mixed-case", "3/t/top")
    archived = {tuple(one.split("@")) for one in NEEDED_BY_TOP}
    assert set(found) == {f"index/{path}" for path in index} | {
        f"crates/{name}/{name}-{version}.crate" for name, version in archived
    }
    with urlopen(f"{upstream.url}/index/le/af/leaf") as answer:
        assert found["index/le/af/leaf"] == answer.read()
    assert found["crates/leaf/leaf-1.0.0.crate"] == packing.crate("leaf", "1.0.0")


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


def test_what_is_blocked_is_not_exported(tmp_path: Path) -> None:
    run("prefetch", "top")
    for name, requirement in (("leaf", "<1.1"), ("Mixed_Case", "*")):
        overrides.create_override(Override.Kind.BLOCKED, name, requirement, actor=None, reason="Bad.")
    run("export", tmp_path / "folder")
    exported = {path.stem for path in (tmp_path / "folder").rglob("*.crate")}
    kept = {"-".join(one.split("@")) for one in NEEDED_BY_TOP}
    assert kept - exported == {"leaf-1.0.0", next(one for one in kept if one.startswith("mixed-case"))}
    assert not (tmp_path / "folder/index" / names.index_path("mixed-case")).exists()


def test_export_asks_as_often_for_one_crate_as_for_all(tmp_path: Path) -> None:
    counts = []
    for wanted in ("leaf", "top"):
        run("prefetch", wanted)
        with CaptureQueriesContext(connection) as queries:
            run("export", tmp_path / wanted)
        counts.append(len(queries))
    assert counts[0] == counts[1]


def test_export_into_what_is_no_folder_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    status, said, failed = failure("export", tmp_path / "file")
    assert (status, said, len(failed.splitlines())) == (1, "", 1)


def test_export_of_a_damaged_file_writes_nothing_wrong(mirror: Path, tmp_path: Path) -> None:
    run("prefetch", "leaf")
    damage(mirror, CachedCrate.objects.get())
    status, _, failed = failure("export", tmp_path / "out")
    assert status == 1
    assert "leaf@1.1.0" in failed
    assert not list((tmp_path / "out").rglob("*.crate"))


def test_export_of_a_file_that_is_gone_tells_so_and_writes_the_others(mirror: Path, tmp_path: Path) -> None:
    run("prefetch", "top")
    archive = CachedCrate.objects.get(name="leaf", version="1.0.0")
    blobs(mirror)[archive.sha256].unlink()
    status, said, failed = failure("export", tmp_path / "out")
    assert (status, said) == (1, f"5 files are in {tmp_path / 'out'}.\n")
    assert failed == "leaf@1.0.0 is damaged here: `mirror verify` mends that"
    assert len(list((tmp_path / "out").rglob("*.crate"))) == 5
    assert (tmp_path / "out/mirror.json").exists()


def test_of_two_files_of_a_version_that_of_the_index_is_exported(folder: Path) -> None:
    before = contents(folder)
    other = CachedCrate.objects.get(name="top")
    CachedCrate.objects.create(name="leaf", version="1.0.0", sha256=other.sha256, size=other.size)
    assert run("export", folder) == f"6 files are in {folder}.\n"
    assert contents(folder) == before


# --- import ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("offline")
def test_imported_mirror_has_what_was_exported(folder: Path, tmp_path: Path) -> None:
    assert run("import", folder) == "6 files are here now.\n"
    assert kept() == NEEDED_BY_TOP
    run("export", tmp_path / "again")
    assert contents(tmp_path / "again") == contents(folder)


@pytest.mark.usefixtures("offline")
def test_second_import_changes_nothing(folder: Path) -> None:
    run("import", folder)
    before = list(CachedCrate.objects.values())
    assert run("import", folder) == "6 files are here now.\n"
    assert list(CachedCrate.objects.values()) == before


@pytest.mark.usefixtures("offline")
def test_index_of_an_offline_mirror_has_only_what_is_there(folder: Path) -> None:
    run("import", folder)
    lines = Client().get("/mirror/index/le/af/leaf").content.splitlines()
    assert [json.loads(line)["vers"] for line in lines] == ["1.0.0", "1.1.0"]
    response = Client().get("/ktra/api/v1/mirror/leaf/1.0.0/download")
    assert b"".join(response) == packing.crate("leaf", "1.0.0")
    assert Client().get("/ktra/api/v1/mirror/leaf/2.0.0-rc.1/download").status_code == 404


@pytest.mark.usefixtures("offline")
def test_damaged_crate_is_told_and_left_out(folder: Path) -> None:
    (folder / "crates/leaf/leaf-1.0.0.crate").write_bytes(b"damaged")
    status, said, failed = failure("import", folder)
    assert (status, said) == (1, "5 files are here now.\n")
    assert failed == "leaf@1.0.0 is not what its index says"
    assert kept() == NEEDED_BY_TOP - {"leaf@1.0.0"}


@pytest.mark.usefixtures("offline")
def test_changed_checksum_is_refused_and_told(folder: Path) -> None:
    run("import", folder)
    body = CachedIndexFile.objects.get(name="middle").body
    index = folder / "index/mi/dd/middle"
    index.write_bytes(index.read_bytes().replace(CachedCrate.objects.get(name="middle").sha256.encode(), b"0" * 64))
    status, said, failed = failure("import", folder)
    assert (status, said) == (1, "5 files are here now.\n")
    assert failed.startswith("middle: the checksum of 0.3.0 was ")
    assert CachedIndexFile.objects.get(name="middle").body == body
    assert [str(incident) for incident in Incident.objects.all()] == ["middle@0.3.0: a checksum changed"]


@pytest.mark.parametrize(
    "about",
    [None, b"", b"[]", b"{}", b'{"upstreams": 1}', b"\xff", b"[" * 100_000],
    ids=["missing", "empty", "list", "nothing", "number", "no text", "deep"],
)
def test_folder_that_is_no_mirror_is_refused(tmp_path: Path, about: bytes | None) -> None:
    if about is not None:
        (tmp_path / "mirror.json").write_bytes(about)
    status, said, failed = failure("import", tmp_path)
    assert (status, said) == (1, "")
    assert failed == f"{tmp_path} is no exported mirror: its mirror.json cannot be read."


@pytest.mark.usefixtures("offline")
def test_names_that_are_no_crates_are_passed_over(folder: Path) -> None:
    body = (folder / "index/le/af/leaf").read_bytes()
    for place in ("le/af/wrong-place", "LE/AF/LEAFY", "le/af/leaf.partial", "le/af/...", "de/mo/de mo", "ü/ü"):
        (folder / "index" / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / "index" / place).write_bytes(body)
    assert run("import", folder) == "6 files are here now.\n"
    assert set(CachedIndexFile.objects.values_list("name", flat=True)) == {one.split("@")[0] for one in NEEDED_BY_TOP}


@pytest.mark.parametrize("version", ["../../../secret", "a/b", "..", "1.0.0\0"])
@pytest.mark.usefixtures("offline")
def test_version_that_leads_elsewhere_is_passed_over(folder: Path, version: str) -> None:
    line = {"name": "leaf", "vers": version, "cksum": "0" * 64}
    (folder / "index/le/af/leaf").write_text(json.dumps(line) + "\n")
    assert run("import", folder) == "4 files are here now.\n"


@pytest.mark.usefixtures("offline")
def test_version_that_is_too_long_is_passed_over(folder: Path) -> None:
    line = json.dumps({"name": "leaf", "vers": "1.0.0-" + "a" * 300, "cksum": "0" * 64})
    with (folder / "index/le/af/leaf").open("a") as index:
        index.write(line + "\n")
    assert run("import", folder) == "6 files are here now.\n"


@pytest.mark.usefixtures("offline")
def test_links_out_of_the_folder_are_not_followed(folder: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes((folder / "index/le/af/leaf").read_bytes())
    (folder / "index/le/af/leaf").unlink()
    os.symlink(secret, folder / "index/le/af/leaf")
    crate = folder / "crates/top/top-1.0.0.crate"
    crate.rename(tmp_path / "elsewhere.crate")
    os.symlink(tmp_path / "elsewhere.crate", crate)
    run("import", folder)
    assert kept() == {"middle@0.3.0", "mixed-case@1.0.0+b", "build-time@0.1.0"}


@pytest.mark.usefixtures("offline")
def test_link_that_goes_in_circles_is_passed_over(folder: Path) -> None:
    os.symlink(folder / "index", folder / "index" / "le" / "circle")
    os.symlink("loop", folder / "index" / "le" / "loop")
    assert run("import", folder) == "6 files are here now.\n"


@pytest.mark.usefixtures("offline")
def test_pipe_in_the_folder_is_passed_over(folder: Path) -> None:
    (folder / "crates/leaf/leaf-1.0.0.crate").unlink()
    os.mkfifo(folder / "crates/leaf/leaf-1.0.0.crate")
    os.mkfifo(folder / "index/le/af/leafy")
    assert run("import", folder) == "5 files are here now.\n"


def test_reserved_name_is_not_imported(folder: Path, mirror: Path, settings: Any) -> None:
    forget_all(mirror)
    settings.MIRROR_OFFLINE, settings.PRIVATE_NAMES = True, ["leaf"]
    run("import", folder)
    with pytest.raises(NotFound):
        downloads.get_crate("leaf", "1.0.0")

"""Files on the server's own disk: no path leads out of the roots, whatever is swapped in, and whenever."""

import io
import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from files import local_files
from files.models import File
from registry_site.errors import Invalid, NotFound
from tests.support.file_clients import FileClient
from tests.support.local_files import (
    CHANGED,
    GONE,
    INSIDE,
    OUTSIDE,
    SWAPS,
    TIME_NS,
    create_link,
    exchange_names,
    write_file,
)

pytestmark = pytest.mark.database_independent

LOOKS = 100_000  # more than are ever needed to see a file, and none, while they are swapped
Make = Callable[[Path, Path], str | Path]


@pytest.fixture
def inside(file_root: Path) -> Path:
    """The root, with a file in a directory."""
    write_file(file_root / "dir" / "file")
    return file_root


@pytest.fixture
def outside(inside: Path) -> Path:
    """A directory beside the root, with a file of the same name."""
    directory = inside.parent / "outside"
    write_file(directory / "file", OUTSIDE)
    return directory


@pytest.fixture
def entry(as_box: FileClient, inside: Path) -> int:
    """The id of the file, registered."""
    return added(as_box, inside / "dir" / "file")


def added(machine: FileClient, path: Path | str, serve_path: str = "file") -> int:
    answer = machine.send("POST", "/", {"path": str(path), "serve_path": serve_path}).json()
    return int(answer["results"][0]["id"])


def failure(message: str) -> dict[str, Any]:
    return {"success": False, "error": message, "message": message}


def body(response: Any) -> bytes:
    """All of it, which closes the file, too."""
    return bytes(response.getvalue())


def moved_behind_a_link(path: Path, target: Path) -> None:
    path.rename(target)
    path.symlink_to(target)


def piped(path: Path) -> Path:
    os.mkfifo(path)
    return path


def listening(path: Path) -> Path:
    """The socket is closed, its name stays."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    return path


# Told as not beneath the root, as they stand.
ELSEWHERE: dict[str, Make] = {
    "parent": lambda root, out: f"{root}/../outside/file",
    "parent_further_in": lambda root, out: f"{root}/dir/../../outside/file",
    "parent_that_stays_within": lambda root, out: f"{root}/dir/../dir/file",
    "dot": lambda root, out: f"{root}/./dir/file",
    "dot_at_the_end": lambda root, out: f"{root}/dir/file/.",
    "empty_part": lambda root, out: f"{root}//dir/file",
    "slash_at_the_end": lambda root, out: f"{root}/dir/file/",
    "two_slashes_at_the_start": lambda root, out: f"/{root}/dir/file",
    "other_directory": lambda root, out: out / "file",
    "longer_name_than_the_roots": lambda root, out: write_file(Path(f"{root}2") / "file", OUTSIDE),
    "root_itself": lambda root, out: root,
    "root_with_a_slash": lambda root, out: f"{root}/",
    "relative": lambda root, out: "dir/file",
    "relative_to_the_working_directory": lambda root, out: os.path.relpath(root / "dir" / "file"),
    "home": lambda root, out: "~/file",
    "address": lambda root, out: f"file://{root}/dir/file",
    "upload_of_somebody": lambda root, out: f"upload:{'0' * 64}",
    "system_file": lambda root, out: "/etc/passwd",
    "device": lambda root, out: "/dev/zero",
    "own_environment": lambda root, out: "/proc/self/environ",
    "root_by_way_of_proc": lambda root, out: f"/proc/self/root{root}/dir/file",
    "working_directory_by_way_of_proc": lambda root, out: "/proc/self/cwd/manage.py",
    "blank_before": lambda root, out: f" {root}/dir/file",
}
# No file there that may be opened.
NO_FILE: dict[str, Make] = {
    "missing": lambda root, out: root / "missing",
    "missing_directory": lambda root, out: root / "missing" / "file",
    "directory": lambda root, out: root / "dir",
    "file_as_a_directory": lambda root, out: root / "dir" / "file" / "file",
    "blank_after": lambda root, out: f"{root}/dir/file ",
    "backslashes": lambda root, out: f"{root}/..\\outside\\file",
    "name_too_long": lambda root, out: root / ("x" * 300),
    "link_to_a_file_outside": lambda root, out: create_link(root / "link", out / "file"),
    "relative_link_to_a_file_outside": lambda root, out: create_link(root / "link", "../outside/file"),
    "link_to_a_file_inside": lambda root, out: create_link(root / "link", root / "dir" / "file"),
    "relative_link_to_a_file_inside": lambda root, out: create_link(root / "link", "dir/file"),
    "link_in_a_directory": lambda root, out: create_link(root / "dir" / "link", "../../outside/file"),
    "link_as_the_first_directory": lambda root, out: create_link(root / "link", out) / "file",
    "link_as_the_last_directory": lambda root, out: create_link(root / "dir" / "link", "../../outside") / "file",
    "link_in_the_middle": lambda root, out: create_link(root / "link", root.parent) / "outside" / "file",
    "link_to_a_directory_inside": lambda root, out: create_link(root / "link", root / "dir") / "file",
    "link_to_a_link": lambda root, out: create_link(root / "link", create_link(root / "other", out / "file")),
    "link_to_itself": lambda root, out: create_link(root / "link", root / "link"),
    "link_to_nothing": lambda root, out: create_link(root / "link", root / "nothing"),
    "link_to_a_device": lambda root, out: create_link(root / "link", "/dev/zero"),
    "link_to_an_open_file": lambda root, out: create_link(root / "link", "/proc/self/fd/0"),
    "link_to_the_whole_disk": lambda root, out: create_link(root / "link", "/") / "etc" / "passwd",
    "pipe": lambda root, out: piped(root / "pipe"),
    "socket": lambda root, out: listening(root / "socket"),
}
# The same, after they were decoded once more.
TWICE_ENCODED: dict[str, tuple[str, str]] = {
    "parent": ("{root}/%2e%2e/outside/file", "{root}/../outside/file does not fall under {root} hierarchy."),
    "parent_and_slashes": (
        "{root}/..%2foutside%2Ffile",
        "{root}/../outside/file does not fall under {root} hierarchy.",
    ),
    "all_of_it": ("%2Fetc%2Fpasswd", "/etc/passwd does not fall under {root} hierarchy."),
    "nul": ("{root}/dir/file%00.txt", "{root}/dir/file\0.txt does not fall under {root} hierarchy."),
    "no_utf8": ("{root}/dir/%ff", "No file at path {root}/dir/\ufffd"),
    "three_times": ("{root}/%252e%252e/outside/file", "No file at path {root}/%2e%2e/outside/file"),
    "link": ("{root}/%6cink", "No file at path {root}/link"),
}


def refusal(path: str | Path, allowed: list[str] | None = None) -> str:
    with pytest.raises(Invalid) as caught:
        local_files.get_local_file(str(path), allowed)
    return caught.value.message


# --- Registering --------------------------------------------------------------------------------------------------


def test_file_beneath_the_root_is_found(inside: Path) -> None:
    path = str(inside / "dir" / "file")
    assert local_files.get_local_file(path) == local_files.LocalFile(path, len(INSIDE), TIME_NS)


@pytest.mark.parametrize("attack", ELSEWHERE)
def test_what_is_not_plainly_beneath_the_root_is_refused(attack: str, inside: Path, outside: Path) -> None:
    path = ELSEWHERE[attack](inside, outside)
    assert refusal(path) == f"{path} does not fall under {inside} hierarchy."


@pytest.mark.parametrize("attack", NO_FILE)
def test_what_is_no_regular_file_by_a_way_without_links_is_refused(attack: str, inside: Path, outside: Path) -> None:
    path = NO_FILE[attack](inside, outside)
    assert refusal(path) == f"No file at path {path}"


@pytest.mark.parametrize("attack", TWICE_ENCODED)
def test_path_that_is_encoded_twice_leads_no_further(attack: str, inside: Path, outside: Path) -> None:
    create_link(inside / "link", outside / "file")
    path, message = (text.replace("{root}", str(inside)) for text in TWICE_ENCODED[attack])
    assert refusal(path) == message


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/full", "/dev/tty", "/dev/fd/0", "/dev/stdin"])
def test_device_beneath_a_root_is_no_file(path: str, settings: Any) -> None:
    settings.FILE_ROOTS = ["/dev"]
    assert refusal(path) == f"No file at path {path}"


def test_link_of_the_system_beneath_a_root_is_not_followed(settings: Any) -> None:
    settings.FILE_ROOTS = ["/proc"]
    assert refusal("/proc/self/environ") == "No file at path /proc/self/environ"


@pytest.mark.parametrize(
    "name", ["two words", "100%", "%41", "%", "?a=b#c", "schön 日本.txt", "a\\b", "...", "-rf", "a\tb"]
)
def test_name_of_a_file_is_taken_as_it_is(name: str, inside: Path) -> None:
    path = str(write_file(inside / name))
    assert local_files.get_local_file(path).path == path


def test_path_that_is_encoded_twice_is_decoded_when_it_leads_beneath_the_root(inside: Path) -> None:
    write_file(inside / "two words")
    assert local_files.get_local_file(f"{inside}/two%20words").path == f"{inside}/two words"


def test_file_whose_name_looks_encoded_comes_before_the_decoded_one(inside: Path) -> None:
    write_file(inside / "two words")
    write_file(inside / "two%20words")
    assert local_files.get_local_file(f"{inside}/two%20words").path == f"{inside}/two%20words"


def test_root_may_be_a_link(inside: Path, settings: Any) -> None:
    root = create_link(inside.parent / "link", inside)
    settings.FILE_ROOTS = [str(root)]
    assert local_files.get_local_file(str(root / "dir" / "file")).path == str(root / "dir" / "file")


def test_way_to_the_root_may_have_a_link(inside: Path, settings: Any) -> None:
    root = create_link(inside.parent / "link", inside) / "dir"
    settings.FILE_ROOTS = [str(root)]
    assert local_files.get_local_file(str(root / "file")).path == str(root / "file")


def test_root_that_is_a_link_beneath_another_root_may_be_one(inside: Path, outside: Path, settings: Any) -> None:
    root = create_link(inside / "link", outside)
    settings.FILE_ROOTS = [str(inside), str(root)]
    assert local_files.get_local_file(str(root / "file")).path == str(root / "file")


def test_whole_disk_can_be_the_root(inside: Path, settings: Any) -> None:
    settings.FILE_ROOTS = ["/"]
    assert local_files.get_local_file(str(inside / "dir" / "file")).size == len(INSIDE)


def test_each_of_several_roots_counts(inside: Path, outside: Path, settings: Any) -> None:
    settings.FILE_ROOTS = [str(inside), str(outside)]
    assert local_files.get_local_file(str(outside / "file")).path == str(outside / "file")


def test_refusal_names_all_roots(inside: Path, outside: Path, settings: Any) -> None:
    settings.FILE_ROOTS = [str(inside), str(outside)]
    assert refusal("/etc/passwd") == f"/etc/passwd does not fall under {inside}, {outside} hierarchy."


def test_path_of_2000_bytes_is_looked_for(inside: Path) -> None:
    path = f"{inside}/" + "x" * (2000 - len(f"{inside}/"))
    assert refusal(path) == f"No file at path {path}"


def test_longer_path_is_refused(inside: Path) -> None:
    assert refusal(f"{inside}/" + "é" * 1000) == "`path` is longer than 2000 bytes."


def test_allowed_directory_narrows_the_roots(inside: Path) -> None:
    write_file(inside / "other" / "file")
    assert refusal(inside / "other" / "file", [f"{inside}/dir"]) == (
        f"{inside}/other/file does not fall under {inside}/dir hierarchy."
    )


def test_allowed_directory_does_not_widen_the_roots(inside: Path, outside: Path) -> None:
    assert refusal(outside / "file", [str(outside)]) == f"{outside}/file does not fall under {outside} hierarchy."


def test_allowed_directory_that_is_a_link_is_not_followed(inside: Path, outside: Path) -> None:
    allowed = create_link(inside / "link", outside)
    assert refusal(allowed / "file", [str(allowed)]) == f"No file at path {allowed}/file"


def test_nothing_is_left_open(inside: Path, outside: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for make in [*ELSEWHERE.values(), *list(NO_FILE.values())[:7]]:
        refusal(make(inside, outside))
    local_files.get_local_file(str(inside / "dir" / "file")).read().close()
    assert len(os.listdir("/proc/self/fd")) == before


# --- Registering, as a client does --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "attack",
    [
        "parent",
        "empty_part",
        "longer_name_than_the_roots",
        "system_file",
        "root_by_way_of_proc",
        "directory",
        "link_to_a_file_outside",
        "link_in_the_middle",
        "link_to_a_device",
        "pipe",
        "socket",
    ],
)
def test_client_cannot_register_what_lies_outside(
    attack: str, as_box: FileClient, inside: Path, outside: Path, settings: Any
) -> None:
    path = (ELSEWHERE | NO_FILE)[attack](inside, outside)
    response = as_box.send("POST", "/", {"path": str(path), "serve_path": "file"})
    told = f"{path} does not fall under {inside} hierarchy." if attack in ELSEWHERE else f"No file at path {path}"
    assert (response.status_code, response.json()) == (200, failure(told))
    assert not File.objects.exists()


@pytest.mark.parametrize("attack", ["parent", "other_directory", "link_to_a_file_outside", "pipe"])
def test_client_cannot_turn_an_entry_to_what_lies_outside(
    attack: str, as_box: FileClient, entry: int, inside: Path, outside: Path
) -> None:
    path = (ELSEWHERE | NO_FILE)[attack](inside, outside)
    assert as_box.send("PUT", f"/{entry}", {"path": str(path)}).json()["success"] is False
    assert body(as_box.send("GET", f"/{entry}")) == INSIDE


def test_registering_under_a_path_that_is_encoded_twice_stores_it_decoded(as_box: FileClient, inside: Path) -> None:
    write_file(inside / "two words")
    added(as_box, f"{inside}/two%20words")
    assert File.objects.get().path == f"{inside}/two words"


# --- Changed after it was registered ------------------------------------------------------------------------------

Swap = Callable[[Path, Path], Any]


def replaced_by(make: Callable[[Path, Path], Any]) -> Swap:
    """Removes the file, and makes something in its place."""

    def swap(file: Path, outside: Path) -> None:
        file.unlink()
        make(file, outside)

    return swap


def replaced_directory(make: Callable[[Path, Path], Any]) -> Swap:
    """Removes the directory of the file, and makes something in its place."""

    def swap(file: Path, outside: Path) -> None:
        shutil.rmtree(file.parent)
        make(file.parent, outside)

    return swap


NO_MORE_A_FILE: dict[str, Swap] = {
    "removed": lambda file, out: file.unlink(),
    "link_to_the_same_outside": replaced_by(lambda file, out: file.symlink_to(out / "file")),
    "relative_link": replaced_by(lambda file, out: file.symlink_to("../../outside/file")),
    "link_to_the_same_inside": lambda file, out: moved_behind_a_link(file, file.parent / "moved"),
    "directory": replaced_by(lambda file, out: file.mkdir()),
    "pipe": replaced_by(lambda file, out: os.mkfifo(file)),
    "socket": replaced_by(lambda file, out: listening(file)),
    "link_to_a_device": replaced_by(lambda file, out: file.symlink_to("/dev/zero")),
    "directory_removed": lambda file, out: shutil.rmtree(file.parent),
    "directory_to_a_link": replaced_directory(lambda directory, out: directory.symlink_to(out)),
    "directory_to_a_relative_link": replaced_directory(lambda directory, out: directory.symlink_to("../outside")),
    "directory_to_a_file": replaced_directory(lambda directory, out: directory.write_bytes(INSIDE)),
    "directory_to_a_link_to_where_it_is_now": lambda file, out: moved_behind_a_link(file.parent, out / "dir"),
}
ANOTHER_FILE: dict[str, Swap] = {
    "truncated": lambda file, out: os.truncate(file, 5),
    "emptied": lambda file, out: write_file(file, b""),
    "grown": lambda file, out: write_file(file, INSIDE + b"."),
    "written_again": lambda file, out: file.write_bytes(INSIDE),
    "replaced": lambda file, out: write_file(file.parent / "new", b"other").rename(file),
    "of_another_nanosecond": lambda file, out: os.utime(file, ns=(TIME_NS, TIME_NS + 1)),
}


@pytest.mark.parametrize("swap", NO_MORE_A_FILE)
def test_registered_path_that_is_no_file_any_more_is_missing(
    swap: str, as_box: FileClient, entry: int, inside: Path, outside: Path
) -> None:
    NO_MORE_A_FILE[swap](inside / "dir" / "file", outside)
    whole = as_box.send("GET", f"/{entry}")
    part = as_box.send("GET", f"/{entry}", headers={"Range": "bytes=0-3"})
    assert [(answer.status_code, answer.json()) for answer in (whole, part)] == [(404, failure(GONE))] * 2


@pytest.mark.parametrize("swap", ANOTHER_FILE)
def test_file_that_is_not_what_was_registered_is_not_served(
    swap: str, as_box: FileClient, entry: int, inside: Path, outside: Path
) -> None:
    ANOTHER_FILE[swap](inside / "dir" / "file", outside)
    whole = as_box.send("GET", f"/{entry}")
    part = as_box.send("GET", f"/{entry}", headers={"Range": "bytes=0-3"})
    assert [(answer.status_code, answer.json()) for answer in (whole, part)] == [(409, failure(CHANGED))] * 2


@pytest.mark.parametrize("swap", ["removed", "directory_to_a_link", "truncated", "of_another_nanosecond"])
def test_changed_file_is_not_told_to_be_the_same(
    swap: str, as_box: FileClient, entry: int, inside: Path, outside: Path
) -> None:
    etag = as_box.send("HEAD", f"/{entry}")["ETag"]
    (NO_MORE_A_FILE | ANOTHER_FILE)[swap](inside / "dir" / "file", outside)
    response = as_box.send("HEAD", f"/{entry}", headers={"If-None-Match": etag})
    assert (response.status_code, response.content) == (404 if swap in NO_MORE_A_FILE else 409, b"")


def test_changed_file_is_served_after_its_entry_was_updated(as_box: FileClient, entry: int, inside: Path) -> None:
    path = write_file(inside / "dir" / "file", b"new")
    as_box.send("PUT", f"/{entry}", {"path": str(path)})
    assert body(as_box.send("GET", f"/{entry}")) == b"new"


def test_root_that_is_none_any_more_serves_nothing(
    as_box: FileClient, entry: int, outside: Path, settings: Any
) -> None:
    settings.FILE_ROOTS = [str(outside)]
    response = as_box.send("GET", f"/{entry}")
    assert (response.status_code, response.json()) == (404, failure(GONE))


def test_without_any_root_no_file_of_the_disk_is_served(as_box: FileClient, entry: int, settings: Any) -> None:
    settings.FILE_ROOTS = []
    response = as_box.send("GET", f"/{entry}")
    assert (response.status_code, response.json()) == (404, failure(GONE))


def test_file_of_a_root_that_is_a_link_is_served(as_box: FileClient, inside: Path, settings: Any) -> None:
    root = create_link(inside.parent / "link", inside)
    settings.FILE_ROOTS = [str(root)]
    assert body(as_box.send("GET", f"/{added(as_box, root / 'dir' / 'file')}")) == INSIDE


# --- Changed at the same moment -----------------------------------------------------------------------------------


@contextmanager
def swapping(one: Path, other: Path) -> Iterator[threading.Event]:
    """Somebody else exchanges the two names until the end; the event is set when it was done 2,000 times."""
    enough, stop = threading.Event(), threading.Event()

    def swap() -> None:
        done = 0
        while not stop.is_set():
            exchange_names(one, other)
            done += 1
            if done >= SWAPS:
                enough.set()

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield enough
    finally:
        stop.set()
        thread.join()


def trap(inside: Path, outside: Path, kind: str) -> tuple[Path, Path]:
    """What is exchanged: the file for a link to the one outside, or its directory for a link to that of it."""
    if kind == "file":
        return inside / "dir" / "file", create_link(inside / "dir" / "trap", outside / "file")
    return inside / "dir", create_link(inside / "trap", outside)


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_swapping_for_a_link_again_and_again_opens_nothing_outside(kind: str, inside: Path, outside: Path) -> None:
    path = str(inside / "dir" / "file")
    found, seen = local_files.get_local_file(path), {"opened": 0, "missing": 0}
    with swapping(*trap(inside, outside, kind)) as enough:
        for _ in range(LOOKS):
            if enough.is_set() and all(seen.values()):
                break
            try:
                with local_files.open_unchanged(found) as file:
                    assert file.read() == INSIDE
                seen["opened"] += 1
            except NotFound:
                seen["missing"] += 1
    assert all(seen.values())


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_swapping_for_a_link_again_and_again_registers_nothing_outside(kind: str, inside: Path, outside: Path) -> None:
    write_file(outside / "file", OUTSIDE + b" It is longer here.")
    path, seen = str(inside / "dir" / "file"), {"found": 0, "refused": 0}
    with swapping(*trap(inside, outside, kind)) as enough:
        for _ in range(LOOKS):
            if enough.is_set() and all(seen.values()):
                break
            try:
                assert local_files.get_local_file(path).size == len(INSIDE)
                seen["found"] += 1
            except Invalid:
                seen["refused"] += 1
    assert all(seen.values())


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_swapping_for_a_link_again_and_again_serves_nothing_outside(
    kind: str, as_box: FileClient, entry: int, inside: Path, outside: Path
) -> None:
    answers: set[tuple[int, bytes]] = set()
    with swapping(*trap(inside, outside, kind)) as enough:
        for _ in range(LOOKS // 20):
            if enough.is_set() and len(answers) > 1:
                break
            response = as_box.send("GET", f"/{entry}")
            answers.add((response.status_code, body(response)))
    missing = b'{"success":false,"error":"File does not exist.","message":"File does not exist."}'
    assert answers == {(200, INSIDE), (404, missing)}


def test_file_that_shrinks_while_it_is_read_ends_with_an_error(settings: Any, tmp_path: Path) -> None:
    settings.FILE_ROOTS = [str(tmp_path)]
    path = tmp_path / "a.txt"
    path.write_bytes(bytes(1000))
    with local_files.get_local_file(str(path)).read() as content:
        os.truncate(path, 10)
        with pytest.raises(OSError, match="shorter"):
            shutil.copyfileobj(content, io.BytesIO())

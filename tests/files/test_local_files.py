"""Files on the server's own disk: no path leads out of the roots, not even while its parts are replaced."""

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
from tests.support.file_clients import FileClient, failure
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

MAX_ATTEMPTS = 100_000  # more than needed to see the file as well as its absence, while it is exchanged
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
    return register(as_box, inside / "dir" / "file")


def register(machine: FileClient, path: Path | str, serve_path: str = "file") -> int:
    answer = machine.send("POST", "/", {"path": str(path), "serve_path": serve_path}).json()
    return int(answer["results"][0]["id"])


def make_roots(directory: Path, settings: Any) -> tuple[Path, Path]:
    """Make a root and a directory beside it, with a file in each; return both."""
    inside, outside = directory / "root", directory / "outside"
    write_file(inside / "dir" / "file")
    write_file(outside / "file", OUTSIDE)
    settings.FILE_ROOTS = [str(inside)]
    return inside, outside


def body(response: Any) -> bytes:
    """Return the whole body, which closes the file."""
    return bytes(response.getvalue())


def move_behind_a_link(path: Path, target: Path) -> None:
    path.rename(target)
    path.symlink_to(target)


def make_pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


def make_socket(path: Path) -> Path:
    """Bind a socket and close it; its name stays."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    return path


# Paths that are not plainly beneath the root.
OUTSIDE_PATHS: dict[str, Make] = {
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
# Paths without a regular file, or through a link.
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
    "pipe": lambda root, out: make_pipe(root / "pipe"),
    "socket": lambda root, out: make_socket(root / "socket"),
}
# Paths that are decoded once more, with their refusals.
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


# --- get_local_file -----------------------------------------------------------------------------------------------


def test_file_beneath_the_root_is_described(inside: Path) -> None:
    path = str(inside / "dir" / "file")
    assert local_files.get_local_file(path) == local_files.LocalFile(path, len(INSIDE), TIME_NS)


def test_path_outside_of_the_root_is_refused(tmp_path: Path, settings: Any) -> None:
    offenders = []
    for number, (case, make) in enumerate(OUTSIDE_PATHS.items()):
        inside, outside = make_roots(tmp_path / str(number), settings)
        path = make(inside, outside)
        if refusal(path) != f"{path} does not fall under {inside} hierarchy.":
            offenders.append((case, refusal(path)))
    assert offenders == []


def test_path_without_a_regular_file_is_refused(tmp_path: Path, settings: Any) -> None:
    offenders = []
    for number, (case, make) in enumerate(NO_FILE.items()):
        path = make(*make_roots(tmp_path / str(number), settings))
        if refusal(path) != f"No file at path {path}":
            offenders.append((case, refusal(path)))
    assert offenders == []


def test_twice_encoded_path_is_confined_too(inside: Path, outside: Path) -> None:
    create_link(inside / "link", outside / "file")
    for path, message in TWICE_ENCODED.values():
        assert refusal(path.replace("{root}", str(inside))) == message.replace("{root}", str(inside))


def test_device_beneath_a_root_is_refused(settings: Any) -> None:
    settings.FILE_ROOTS = ["/dev"]
    for path in ("/dev/zero", "/dev/full", "/dev/tty", "/dev/fd/0", "/dev/stdin"):
        assert refusal(path) == f"No file at path {path}"


def test_link_of_the_system_is_not_followed(settings: Any) -> None:
    settings.FILE_ROOTS = ["/proc"]
    assert refusal("/proc/self/environ") == "No file at path /proc/self/environ"


def test_name_of_a_file_is_not_interpreted(inside: Path) -> None:
    for name in ("two words", "100%", "%41", "%", "?a=b#c", "schön 日本.txt", "a\\b", "...", "-rf", "a\tb"):
        path = str(write_file(inside / name))
        assert local_files.get_local_file(path).path == path


def test_twice_encoded_path_is_decoded(inside: Path) -> None:
    write_file(inside / "two words")
    assert local_files.get_local_file(f"{inside}/two%20words").path == f"{inside}/two words"


def test_undecoded_name_wins_over_the_decoded(inside: Path) -> None:
    write_file(inside / "two words")
    write_file(inside / "two%20words")
    assert local_files.get_local_file(f"{inside}/two%20words").path == f"{inside}/two%20words"


def test_root_may_be_a_link(inside: Path, settings: Any) -> None:
    root = create_link(inside.parent / "link", inside)
    settings.FILE_ROOTS = [str(root)]
    assert local_files.get_local_file(str(root / "dir" / "file")).path == str(root / "dir" / "file")


def test_path_to_the_root_may_have_a_link(inside: Path, settings: Any) -> None:
    root = create_link(inside.parent / "link", inside) / "dir"
    settings.FILE_ROOTS = [str(root)]
    assert local_files.get_local_file(str(root / "file")).path == str(root / "file")


def test_link_in_a_root_may_be_another_root(inside: Path, outside: Path, settings: Any) -> None:
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


def test_path_of_2000_bytes_is_allowed(inside: Path) -> None:
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


def test_allowed_directory_is_no_link(inside: Path, outside: Path) -> None:
    allowed = create_link(inside / "link", outside)
    assert refusal(allowed / "file", [str(allowed)]) == f"No file at path {allowed}/file"


def test_file_replaced_before_opening_is_refused(inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path is a regular file when it is looked at, and a pipe when it is opened."""
    regular, pipe = os.stat(inside / "dir" / "file"), make_pipe(inside / "pipe")
    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", lambda *args, **options: regular)
        with pytest.raises(Invalid, match="No file at path"):
            local_files.get_local_file(str(pipe))


def test_all_handles_are_closed(inside: Path, outside: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for make in [*OUTSIDE_PATHS.values(), *list(NO_FILE.values())[:7]]:
        refusal(make(inside, outside))
    local_files.get_local_file(str(inside / "dir" / "file")).read().close()
    assert len(os.listdir("/proc/self/fd")) == before


# --- Registering by a client --------------------------------------------------------------------------------------


@pytest.mark.parametrize("attack", ["parent", "link_to_a_file_outside", "link_in_the_middle", "pipe"])
def test_client_cannot_register_outside_files(
    attack: str, as_box: FileClient, inside: Path, outside: Path, settings: Any
) -> None:
    path = (OUTSIDE_PATHS | NO_FILE)[attack](inside, outside)
    response = as_box.send("POST", "/", {"path": str(path), "serve_path": "file"})
    is_outside = attack in OUTSIDE_PATHS
    message = f"{path} does not fall under {inside} hierarchy." if is_outside else f"No file at path {path}"
    assert (response.status_code, response.json()) == (200, failure(message))
    assert not File.objects.exists()


@pytest.mark.parametrize("attack", ["parent", "other_directory", "link_to_a_file_outside", "pipe"])
def test_client_cannot_change_to_outside_files(
    attack: str, as_box: FileClient, entry: int, inside: Path, outside: Path
) -> None:
    path = (OUTSIDE_PATHS | NO_FILE)[attack](inside, outside)
    assert as_box.send("PUT", f"/{entry}", {"path": str(path)}).json()["success"] is False
    assert body(as_box.send("GET", f"/{entry}")) == INSIDE


def test_twice_encoded_path_is_stored_decoded(as_box: FileClient, inside: Path) -> None:
    write_file(inside / "two words")
    register(as_box, f"{inside}/two%20words")
    assert File.objects.get().path == f"{inside}/two words"


# --- Changes of registered files ----------------------------------------------------------------------------------

Replace = Callable[[Path, Path], Any]


def replace_file(make: Callable[[Path, Path], Any]) -> Replace:
    """Remove the file, and make something else at its path."""

    def replace(file: Path, outside: Path) -> None:
        file.unlink()
        make(file, outside)

    return replace


def replace_directory(make: Callable[[Path, Path], Any]) -> Replace:
    """Remove the directory of the file, and make something else at its path."""

    def replace(file: Path, outside: Path) -> None:
        shutil.rmtree(file.parent)
        make(file.parent, outside)

    return replace


NO_MORE_A_FILE: dict[str, Replace] = {
    "removed": lambda file, out: file.unlink(),
    "link_to_the_same_outside": replace_file(lambda file, out: file.symlink_to(out / "file")),
    "relative_link": replace_file(lambda file, out: file.symlink_to("../../outside/file")),
    "link_to_the_same_inside": lambda file, out: move_behind_a_link(file, file.parent / "moved"),
    "directory": replace_file(lambda file, out: file.mkdir()),
    "pipe": replace_file(lambda file, out: os.mkfifo(file)),
    "socket": replace_file(lambda file, out: make_socket(file)),
    "link_to_a_device": replace_file(lambda file, out: file.symlink_to("/dev/zero")),
    "directory_removed": lambda file, out: shutil.rmtree(file.parent),
    "directory_to_a_link": replace_directory(lambda directory, out: directory.symlink_to(out)),
    "directory_to_a_relative_link": replace_directory(lambda directory, out: directory.symlink_to("../outside")),
    "directory_to_a_file": replace_directory(lambda directory, out: directory.write_bytes(INSIDE)),
    "directory_to_a_link_to_where_it_is_now": lambda file, out: move_behind_a_link(file.parent, out / "dir"),
}
CHANGED_FILE: dict[str, Replace] = {
    "truncated": lambda file, out: os.truncate(file, 5),
    "emptied": lambda file, out: write_file(file, b""),
    "grown": lambda file, out: write_file(file, INSIDE + b"."),
    "written_again": lambda file, out: file.write_bytes(INSIDE),
    "replaced": lambda file, out: write_file(file.parent / "new", b"other").rename(file),
    "of_another_nanosecond": lambda file, out: os.utime(file, ns=(TIME_NS, TIME_NS + 1)),
}


def answers_to(machine: FileClient, pk: int) -> list[tuple[int, Any]]:
    """Return the answers to a request for the whole file, and to one for a part."""
    responses = [machine.send("GET", f"/{pk}"), machine.send("GET", f"/{pk}", headers={"Range": "bytes=0-3"})]
    return [(response.status_code, response.json()) for response in responses]


def test_changed_files_are_not_served(as_box: FileClient, tmp_path: Path, settings: Any) -> None:
    expected = dict.fromkeys(NO_MORE_A_FILE, (404, failure(GONE)))
    expected |= dict.fromkeys(CHANGED_FILE, (409, failure(CHANGED)))
    offenders = []
    for number, (case, change) in enumerate((NO_MORE_A_FILE | CHANGED_FILE).items()):
        inside, outside = make_roots(tmp_path / str(number), settings)
        pk = register(as_box, inside / "dir" / "file", serve_path=case)
        change(inside / "dir" / "file", outside)
        if answers_to(as_box, pk) != [expected[case]] * 2:
            offenders.append((case, answers_to(as_box, pk)))
    assert offenders == []


@pytest.mark.parametrize("case", ["removed", "directory_to_a_link", "truncated", "of_another_nanosecond"])
def test_changed_file_has_no_304(case: str, as_box: FileClient, entry: int, inside: Path, outside: Path) -> None:
    etag = as_box.send("HEAD", f"/{entry}")["ETag"]
    (NO_MORE_A_FILE | CHANGED_FILE)[case](inside / "dir" / "file", outside)
    response = as_box.send("HEAD", f"/{entry}", headers={"If-None-Match": etag})
    assert (response.status_code, response.content) == (404 if case in NO_MORE_A_FILE else 409, b"")


def test_updated_entry_serves_the_changed_file(as_box: FileClient, entry: int, inside: Path) -> None:
    path = write_file(inside / "dir" / "file", b"new")
    as_box.send("PUT", f"/{entry}", {"path": str(path)})
    assert body(as_box.send("GET", f"/{entry}")) == b"new"


def test_removed_root_serves_no_file(as_box: FileClient, entry: int, outside: Path, settings: Any) -> None:
    for settings.FILE_ROOTS in ([str(outside)], []):
        response = as_box.send("GET", f"/{entry}")
        assert (response.status_code, response.json()) == (404, failure(GONE))


def test_file_of_a_linked_root_is_served(as_box: FileClient, inside: Path, settings: Any) -> None:
    root = create_link(inside.parent / "link", inside)
    settings.FILE_ROOTS = [str(root)]
    assert body(as_box.send("GET", f"/{register(as_box, root / 'dir' / 'file')}")) == INSIDE


# --- Changes at the same time -------------------------------------------------------------------------------------


@contextmanager
def exchanging(first: Path, second: Path) -> Iterator[threading.Event]:
    """Exchange two names again and again in a thread; the event is set after 2,000 times."""
    is_enough, stop = threading.Event(), threading.Event()

    def exchange() -> None:
        count = 0
        while not stop.is_set():
            exchange_names(first, second)
            count += 1
            if count >= SWAPS:
                is_enough.set()

    thread = threading.Thread(target=exchange)
    thread.start()
    try:
        yield is_enough
    finally:
        stop.set()
        thread.join()


def make_trap(inside: Path, outside: Path, kind: str) -> tuple[Path, Path]:
    """Return the file and a link to the outside file, or its directory and a link to the outside directory."""
    if kind == "file":
        return inside / "dir" / "file", create_link(inside / "dir" / "trap", outside / "file")
    return inside / "dir", create_link(inside / "trap", outside)


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_exchanged_link_opens_no_outside_file(kind: str, inside: Path, outside: Path) -> None:
    path = str(inside / "dir" / "file")
    local_file, counts = local_files.get_local_file(path), {"opened": 0, "missing": 0}
    with exchanging(*make_trap(inside, outside, kind)) as is_enough:
        for _ in range(MAX_ATTEMPTS):
            if is_enough.is_set() and all(counts.values()):
                break
            try:
                with local_files.open_unchanged(local_file) as file:
                    assert file.read() == INSIDE
                counts["opened"] += 1
            except NotFound:
                counts["missing"] += 1
    assert all(counts.values())


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_exchanged_link_registers_no_outside_file(kind: str, inside: Path, outside: Path) -> None:
    write_file(outside / "file", OUTSIDE + b" It is longer here.")
    path, counts = str(inside / "dir" / "file"), {"registered": 0, "refused": 0}
    with exchanging(*make_trap(inside, outside, kind)) as is_enough:
        for _ in range(MAX_ATTEMPTS):
            if is_enough.is_set() and all(counts.values()):
                break
            try:
                assert local_files.get_local_file(path).size == len(INSIDE)
                counts["registered"] += 1
            except Invalid:
                counts["refused"] += 1
    assert all(counts.values())


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_exchanged_link_serves_no_outside_file(
    kind: str, as_box: FileClient, entry: int, inside: Path, outside: Path
) -> None:
    answers: set[tuple[int, bytes]] = set()
    with exchanging(*make_trap(inside, outside, kind)) as is_enough:
        for _ in range(MAX_ATTEMPTS // 20):
            if is_enough.is_set() and len(answers) > 1:
                break
            response = as_box.send("GET", f"/{entry}")
            answers.add((response.status_code, body(response)))
    missing = b'{"success":false,"error":"File does not exist.","message":"File does not exist."}'
    assert answers == {(200, INSIDE), (404, missing)}


def test_file_that_shrinks_raises_an_error(settings: Any, tmp_path: Path) -> None:
    settings.FILE_ROOTS = [str(tmp_path)]
    path = tmp_path / "a.txt"
    path.write_bytes(bytes(1000))
    with local_files.get_local_file(str(path)).read() as content:
        os.truncate(path, 10)
        with pytest.raises(OSError, match="shorter"):
            shutil.copyfileobj(content, io.BytesIO())


# --- Hard links ---------------------------------------------------------------------------------------------------

SEVERAL_LINKS = "The file has several hard links, and another one can be outside of the roots: register a copy of it."


def test_hard_link_is_not_registered(as_box: FileClient, inside: Path, outside: Path) -> None:
    (inside / "hard").hardlink_to(outside / "file")
    response = as_box.send("POST", "/", {"path": str(inside / "hard"), "serve_path": "hard"})
    assert (response.status_code, response.json()) == (200, failure(SEVERAL_LINKS))
    assert not File.objects.exists()


def test_hard_link_is_not_served(as_box: FileClient, inside: Path, outside: Path, entry: int) -> None:
    (inside / "dir" / "file").unlink()
    (inside / "dir" / "file").hardlink_to(outside / "file")
    response = as_box.send("GET", f"/{entry}")
    assert (response.status_code, response.json()) == (404, failure(SEVERAL_LINKS))
    (outside / "file").unlink()
    assert body(as_box.send("GET", f"/{entry}")) == OUTSIDE

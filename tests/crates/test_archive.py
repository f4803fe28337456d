"""The reader of `.crate` files accepts what cargo packs, and nothing that could trick a tool that unpacks it."""

import gzip
import io
import itertools
import lzma
import os
import re
import shutil
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crates.package import archive
from registry_site.archives import gzip_reader
from registry_site.errors import Invalid
from tests.support import packing
from tests.support.packing import END, crate_around, entry, header, long_name, tar_around
from tests.support.refusals import refusal_of

pytestmark = pytest.mark.database_independent

ROOT = "demo-1.0.0"
MIB = 1024 * 1024
SYMLINK = entry("../../evil", kind=b"2", linkname=b"/etc/passwd")


def read(crate: bytes) -> archive.Contents:
    return archive.read(io.BytesIO(crate), len(crate), ROOT)


class Stream(io.RawIOBase):
    """A file that is generated while it is read."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self.chunks = chunks

    def read(self, size: int = -1, /) -> bytes:
        return next(self.chunks, b"")


def gzip_parts(parts: Iterator[bytes]) -> Iterator[bytes]:
    deflater = zlib.compressobj(1, zlib.DEFLATED, 31)
    for part in parts:
        yield deflater.compress(part) + deflater.flush(zlib.Z_SYNC_FLUSH)
    yield deflater.flush()


# --- Accepted crates --------------------------------------------------------------------------------------------


def test_crate_is_read() -> None:
    contents = read(packing.crate(files={"src/a/b.rs": "x" * 1000}))
    assert contents.cargo_toml.decode() == packing.manifest()
    assert contents.paths == {"Cargo.toml", "src/lib.rs", "src/a/b.rs"}


def tar_by_tarfile(path: str, format: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as tar:
        tar.addfile(tarfile.TarInfo(f"{ROOT}/Cargo.toml"))
        tar.addfile(tarfile.TarInfo(f"{ROOT}/{path}"))
    return buffer.getvalue()


def test_long_path_is_read() -> None:
    path = f"src/{'a' * 90}/{'b' * 50}/mod.rs"
    for format in (tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT):
        assert read(gzip.compress(tar_by_tarfile(path, format))).paths == {"Cargo.toml", path}


PATHS = [
    *(".hidden", "...", "a b", "a..b", "src/\u00fcn\u00ef.txt", "\U0001f980"),
    "/".join(["d"] * 64),  # the deepest
    "c" * 255,
    "\u00e9" * 127,
    "/".join(["p" * 202] * 5)[:1013],  # the longest: 1,024 bytes with the root
]


def test_path_is_accepted() -> None:
    for path in PATHS:
        full = f"{ROOT}/{path}".encode()
        assert read(crate_around(long_name(full + b"\0"), entry(full[:100]))).paths == {"Cargo.toml", path}


def test_directories_may_be_listed() -> None:
    listed = [entry(f"{ROOT}{path}", kind=b"5") for path in ("/", "/src/", "/src")]
    assert read(crate_around(*listed, entry(f"{ROOT}/src/lib.rs"))).paths == {"Cargo.toml", "src/lib.rs"}


def test_mode_is_accepted() -> None:
    modes = [b"0000644", b"0000755", b"0000600", b"0000664", b"0100644", b"644"]
    assert [mode for mode in modes if refusal_of(read, crate_around(entry(mode=mode + b"\0")))] == []


def test_owner_does_not_count() -> None:
    assert "x" in read(crate_around(entry(uid=b"0177777\0", gid=b"0177777\0"))).paths


def test_nested_manifest_is_only_a_file() -> None:
    contents = read(crate_around(entry(f"{ROOT}/examples/a/Cargo.toml", b"other")))
    assert contents.cargo_toml.decode() == packing.manifest()


def test_tar_ends_in_zeros() -> None:
    for end in (bytes(512), END, bytes(10_240), bytes(700)):
        assert read(gzip.compress(entry(f"{ROOT}/Cargo.toml") + end)).paths == {"Cargo.toml"}


@pytest.mark.skipif(shutil.which("cargo") is None, reason="cargo is not installed")
def test_crate_that_cargo_packed_is_read(tmp_path: Path) -> None:
    path = f"src/{'long_' * 20}/{'name_' * 10}.rs"
    for name, text in {"Cargo.toml": packing.manifest(), "src/lib.rs": "", path: "", "README.md": "\u00fc"}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "src/lib.rs").chmod(0o777)
    command = ["cargo", "package", "--offline", "--no-verify", "--allow-dirty", "--quiet"]
    subprocess.run(command, cwd=tmp_path, check=True, env=os.environ | {"CARGO_TARGET_DIR": str(tmp_path / "target")})
    contents = read((tmp_path / "target/package/demo-1.0.0.crate").read_bytes())
    assert len(path) > 150
    assert {"Cargo.toml", "Cargo.toml.orig", "Cargo.lock", "src/lib.rs", "README.md", path} <= contents.paths


# --- Kinds of entries -------------------------------------------------------------------------------------------


NAMES_OF_KINDS = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a character device",
    b"4": "a block device",
    b"6": "a FIFO",
    b"g": "a pax global header",
    b"x": "a pax extended header",
    b"K": "a GNU long link name",
    b"S": "a sparse file",
    **dict.fromkeys((b"7", b"X", b"D", b"M", b"N", b"V", b"A", b"\xff"), "an entry of type"),
}


def test_other_kind_of_entry_is_refused() -> None:
    refusals = {
        kind: refusal_of(read, crate_around(entry(kind=kind, linkname=b"Cargo.toml"))) for kind in NAMES_OF_KINDS
    }
    assert [kind for kind, name in NAMES_OF_KINDS.items() if f"contains {name}" not in refusals[kind]] == []


PAX_RECORDS = [
    b"14 path=../x\n",
    b"21 size=99999999999\n",
    b"999999999 path=x\n",
    b"path=x",
    b"0 \n",
    b"-5 a=b\n",
    b"",
    b"30 GNU.sparse.name=/etc/passwd\n",
]


def test_pax_records_are_refused() -> None:
    for kind, records in itertools.product((b"x", b"g"), PAX_RECORDS):
        assert "pax" in refusal_of(read, crate_around(entry("PaxHeaders/x", records, kind=kind), entry()))


def test_pax_path_is_refused() -> None:
    with pytest.raises(Invalid, match="pax extended header"):
        read(gzip.compress(tar_by_tarfile("a" * 200, tarfile.PAX_FORMAT)))


def test_directory_with_data_is_refused() -> None:
    with pytest.raises(Invalid, match="directory with data"):
        read(crate_around(entry(f"{ROOT}/src/", SYMLINK, kind=b"5")))


# --- Paths ------------------------------------------------------------------------------------------------------


PATHS_OUTSIDE = [
    "",
    "/",
    "x",
    "Cargo.toml",
    "../x",
    "./demo-1.0.0/x",
    "/demo-1.0.0/x",
    "//demo-1.0.0/x",
    "\\demo-1.0.0\\x",
    "C:/demo-1.0.0/x",
    "demo-1.0.0-evil/x",
    "demo-1.0.00/x",
    "demo/x",
    "DEMO-1.0.0/x",
    "demo-1.0.0\\x",
    "demo-1.0.0 /x",
]


def test_entry_outside_of_the_root_is_refused() -> None:
    refusals = {path: refusal_of(read, crate_around(entry(path))) for path in PATHS_OUTSIDE}
    assert [path for path, refusal in refusals.items() if "outside of demo-1.0.0/" not in refusal] == []


BAD_PATHS = [
    "",
    "/x",
    "..",
    "../x",
    "a/../../../x",
    "a/..",
    ".",
    "./x",
    "a//x",
    "a/./x",
    "a/",
    "a\\b",
    "..\\x",
    "a\nb",
    "a\rb",
    "a\tb",
    "a\x1b[31mb",
    "a\x7fb",
    "a\x85b",
    "a\x9bb",
    *(f"a{sign}b" for sign in ':*?"<>|'),
]


def test_bad_path_is_refused() -> None:
    refusals = {path: refusal_of(read, crate_around(entry(f"{ROOT}/{path}"))) for path in BAD_PATHS}
    assert [path for path, refusal in refusals.items() if "path that is not allowed" not in refusal] == []


def test_path_that_is_not_utf8_is_refused() -> None:
    for path in (b"\xff", b"\xc0\xae\xc0\xae/x", b"\xed\xa0\x80", "\u00fc".encode("latin-1")):
        assert "not UTF-8" in refusal_of(read, crate_around(entry(b"demo-1.0.0/" + path)))


def test_too_long_or_deep_path_is_refused() -> None:
    for path in ("c" * 256, "\u00e9" * 128, "/".join(["d"] * 65), "/".join(["d"] * 400)):
        long = long_name(f"{ROOT}/{path}".encode() + b"\0")
        assert re.search("too long or too deep|not allowed", refusal_of(read, crate_around(long, entry())))


def test_path_over_a_kilobyte_is_refused() -> None:
    with pytest.raises(Invalid, match="too long"):
        read(crate_around(long_name(b"demo-1.0.0/" + b"a" * 1014), entry()))


COLLISIONS = [
    ("Cargo.toml",),
    ("cargo.toml",),
    ("CARGO.TOML",),
    ("a", "a"),
    ("a", "A"),
    ("src/lib.rs", "SRC/lib.rs"),
    ("src/lib.rs", "src/LIB.RS"),
    ("a", "a/b"),
    ("a/b", "a"),
    ("A/b", "a"),
    ("a", "A/b/c"),
    ("Cargo.toml/x",),
    ("stra\u00dfe", "STRASSE"),
    ("\u00e9", "e\u0301"),
    ("\u00c9", "e\u0301"),
    ("\u212a", "k"),
    ("\u03c3", "\u03c2"),
]


def test_entries_that_collide_are_refused() -> None:
    refusals = {
        paths: refusal_of(read, crate_around(*(entry(f"{ROOT}/{path}") for path in paths))) for paths in COLLISIONS
    }
    assert [paths for paths, refusal in refusals.items() if "two entries" not in refusal] == []


def test_directory_in_place_of_a_file_is_refused() -> None:
    with pytest.raises(Invalid, match="two entries"):
        read(crate_around(entry(f"{ROOT}/cargo.toml/", kind=b"5")))


def test_file_in_place_of_the_root_is_refused() -> None:
    for kind in (b"0", b"\0"):
        assert "outside of demo-1.0.0/" in refusal_of(read, crate_around(entry(ROOT, kind=kind)))


def test_crate_without_a_manifest_is_refused() -> None:
    with pytest.raises(Invalid, match=r"has no demo-1.0.0/Cargo.toml"):
        read(gzip.compress(entry(f"{ROOT}/src/lib.rs") + END))


def test_manifest_by_another_name_does_not_count() -> None:
    for path in ("cargo.toml", "CARGO.TOML", "src/Cargo.toml", "Cargo.toml.orig"):
        assert "has no" in refusal_of(read, gzip.compress(entry(f"{ROOT}/{path}") + END))


def test_directory_is_no_manifest() -> None:
    with pytest.raises(Invalid, match="has no"):
        read(gzip.compress(entry(f"{ROOT}/Cargo.toml/", kind=b"5") + END))


def test_size_of_the_manifest_is_limited() -> None:
    longest = entry(f"{ROOT}/Cargo.toml", bytes(archive.MAX_MANIFEST_SIZE))
    assert len(read(gzip.compress(longest + END)).cargo_toml) == 256 * 1024
    longer = entry(f"{ROOT}/Cargo.toml", bytes(archive.MAX_MANIFEST_SIZE + 1))
    assert "packed Cargo.toml has" in refusal_of(read, gzip.compress(longer + END))


# --- Headers ----------------------------------------------------------------------------------------------------


def test_hostile_mode_is_refused() -> None:
    modes = (b"4755", b"2755", b"1777", b"0777", b"0666", b"0602", b"7777", b"6000", b"0002")
    for kind, mode in itertools.product((b"0", b"5"), modes):
        crate = crate_around(entry(mode=b"000" + mode + b"\0", kind=kind))
        assert "setuid, setgid, sticky or writable by everybody" in refusal_of(read, crate)


NOT_OCTAL = [
    b"\x80" + bytes(6) + b"\x01",  # base 256
    b"\xff" * 8,  # base 256, negative
    b"-000001\0",
    b"+000001\0",
    b"0000008\0",
    b"0x00001\0",
    b"00 0001\0",
    b"0_00001\0",
    b"000\x000001",
    b"\x000000001",  # some readers stop at the first NUL, others take the number after it
    b"1e3\0",
    b"\xb2\xb3\0",
    b"       \0",
    b"\0",
]


def test_number_that_is_not_octal_is_refused() -> None:
    fields = itertools.product(("size", "mode", "checksum"), NOT_OCTAL)
    assert [
        (key, number) for key, number in fields if not refusal_of(read, crate_around(header(**{key: number})))
    ] == []


def test_size_behind_a_nul_hides_nothing() -> None:
    """Python's tarfile takes this size for 0, and what is data here for the next header."""
    with pytest.raises(Invalid):
        read(crate_around(entry(data=SYMLINK, size=b"\x0000000001000")))


def test_size_over_the_rest_is_refused() -> None:
    for size in (b"77777777777\0", b"777777777777", b"00000002000\0"):
        assert re.search("cut off|unpacks to more", refusal_of(read, crate_around(entry(size=size))))


def test_damaged_header_is_refused() -> None:
    for position in (0, 50, 99, 103, 124, 148, 156, 200, 257, 300, 511):
        damaged = bytearray(header())
        damaged[position] ^= 0x41
        assert re.search("wrong checksum|not octal", refusal_of(read, crate_around(bytes(damaged))))


def test_prefix_is_part_of_a_ustar_path() -> None:
    crate = crate_around(entry("c.rs", prefix=b"demo-1.0.0/a/b", magic=b"ustar\x0000"))
    assert "a/b/c.rs" in read(crate).paths


def test_prefix_that_only_some_readers_see_is_refused() -> None:
    """cargo joins it for `ustar\\0` + `00` alone, GNU tar for `ustar\\0`, Python's tarfile always."""
    for magic in (b"ustar  \0", b"ustar\0\0\0", b"ustar\0 0", b"ustar 00", bytes(8)):
        hidden = entry("demo-1.0.0/Cargo.toml", b"another", prefix=b"demo-1.0.0", magic=magic)
        assert refusal_of(read, crate_around(hidden))


def test_prefix_that_leads_out_is_refused() -> None:
    for magic in (b"ustar  \0", bytes(8)):
        assert refusal_of(read, crate_around(entry(prefix=b"../../home", magic=magic)))


# --- GNU long names ---------------------------------------------------------------------------------------------


def test_long_name_belongs_to_the_next_entry() -> None:
    crate = crate_around(long_name(b"demo-1.0.0/long\0"), entry(), entry(f"{ROOT}/y"))
    assert read(crate).paths == {"Cargo.toml", "long", "y"}


def test_long_name_of_an_absurd_size_is_refused() -> None:
    for size in (b"30000000000\0", b"77777777777\0", b"00000002002\0", b"00000000000\0", b"\xff" * 12):
        assert refusal_of(read, crate_around(long_name(b"demo-1.0.0/long\0", size=size), entry()))


BAD_LONG_NAMES = [
    b"\0",
    b"\0\0\0",
    b"demo-1.0.0/a\0b\0",
    b"demo-1.0.0/a\0\0",  # cargo takes off one NUL only, and cannot unpack the rest
    b"../x\0",
    b"/etc/passwd\0",
    b"demo-1.0.0/../x\0",
    b"demo-1.0.0/Cargo.toml\0",
    b"demo-1.0.0/\xff\0",
]


def test_bad_long_name_is_refused() -> None:
    assert [name for name in BAD_LONG_NAMES if not refusal_of(read, crate_around(long_name(name), entry()))] == []


def test_doubled_long_name_is_refused() -> None:
    with pytest.raises(Invalid, match="doubled"):
        read(crate_around(long_name(b"demo-1.0.0/a\0"), long_name(b"demo-1.0.0/b\0"), entry()))


def test_long_name_without_an_entry_is_refused() -> None:
    with pytest.raises(Invalid, match="without an entry"):
        read(crate_around(long_name(b"demo-1.0.0/a\0")))


# --- gzip and the end of the file -------------------------------------------------------------------------------


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr(f"{ROOT}/Cargo.toml", packing.manifest())
    return buffer.getvalue()


NO_CRATES = [
    b"",
    b"\0",
    b"\x1f\x8b",
    b"\x1f\x8b\x08",
    bytes(1000),
    b"not a crate",
    zipped(),
    tar_around(),
    zlib.compress(tar_around()),
    lzma.compress(tar_around()),
    gzip.compress(b""),
    gzip.compress(b"x"),
    gzip.compress(b"x" * 512),
    gzip.compress(bytes(512)),
    gzip.compress(gzip.compress(tar_around())),
    b"\n" + crate_around(),
]


def test_file_that_is_no_crate_is_refused() -> None:
    assert [file for file in NO_CRATES if not refusal_of(read, file)] == []


def test_damaged_gzip_frame_is_refused() -> None:
    for position in (-1, -4, -5, -8, 0, 1, 2, 3):
        damaged = bytearray(crate_around())
        damaged[position] ^= 0xFF
        assert refusal_of(read, bytes(damaged))


def test_gzip_cut_anywhere_is_refused() -> None:
    crate = packing.crate(files={"a": os.urandom(2000)})
    assert [end for end in range(len(crate)) if not refusal_of(read, crate[:end])] == []


def test_tar_cut_anywhere_is_refused() -> None:
    tar = tar_around(entry(data=b"data"), long_name(b"demo-1.0.0/y\0"), entry())
    ends = range(0, len(tar) - 512, 7)
    assert [end for end in ends if not refusal_of(read, gzip.compress(tar[:end], 1))] == []


def test_data_after_the_gzip_member_is_refused() -> None:
    for garbage in (b"\0", b"x", bytes(512), gzip.compress(b"", mtime=0), crate_around(), b"\x1f\x8b"):
        assert "after the crate's gzip data" in refusal_of(read, crate_around() + garbage)


def test_byte_after_the_last_whole_chunk_is_refused() -> None:
    crate = crate_around()
    name = b"n" * (-(len(crate) + 1) % gzip_reader.CHUNK_SIZE) + b"\0"
    crate = crate[:3] + b"\x08" + crate[4:10] + name + crate[10:]  # a name in the gzip header fills it up
    assert read(crate).paths == {"Cargo.toml"}
    with pytest.raises(Invalid, match="after the crate's gzip data"):
        read(crate + b"x")


def test_tar_split_over_two_gzip_members_is_refused() -> None:
    tar = tar_around(entry())
    with pytest.raises(Invalid):
        read(gzip.compress(tar[:1024]) + gzip.compress(tar[1024:]))


def test_data_after_the_tar_is_refused() -> None:
    for hidden in (entry(), SYMLINK, b"x", bytes(511) + b"x"):
        assert "after the end of the crate's tar" in refusal_of(read, gzip.compress(tar_around()[:-512] + hidden))


# --- Bounded work -----------------------------------------------------------------------------------------------


def bomb(size: int) -> Iterator[bytes]:
    """Yield a crate with one file of zeros, of `size` MiB."""
    yield tar_around()[:-1024] + header(size=b"%011o\0" % (size * MIB))
    for _ in range(size):
        yield bytes(MIB)
    yield END


@pytest.mark.parametrize(("size", "compressed_size"), [(65, 1000), (101, MIB), (513, 10 * MIB), (513, 1000 * MIB)])
def test_bomb_is_refused(size: int, compressed_size: int) -> None:
    with pytest.raises(Invalid, match="unpacks to more than"):
        archive.read(Stream(gzip_parts(bomb(size))), compressed_size, ROOT)  # type: ignore[arg-type]


def test_well_compressed_crate_is_accepted() -> None:
    contents = archive.read(Stream(gzip_parts(bomb(60))), 1000, ROOT)  # type: ignore[arg-type]
    assert sum(member.size for member in contents.members.values()) >= 60 * MIB


def empty_entries(count: int) -> Iterator[bytes]:
    yield tar_around()[:-1024]
    for start in range(0, count, 1000):
        yield b"".join(entry(f"{ROOT}/{number}") for number in range(start, start + 1000))
    yield END


def test_number_of_entries_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_ENTRIES", 3)
    assert len(read(crate_around(entry(), entry(f"{ROOT}/y"))).paths) == 3
    assert "more than 3 entries" in refusal_of(read, crate_around(entry(), entry(f"{ROOT}/y"), entry(f"{ROOT}/z")))


def test_number_of_implied_directories_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_ENTRIES", 3)
    assert len(read(crate_around(entry(f"{ROOT}/a/b/c/x"))).paths) == 2
    assert "more than 3 directories" in refusal_of(read, crate_around(entry(f"{ROOT}/a/b/c/d/x")))


def test_million_empty_entries_are_refused() -> None:
    with pytest.raises(Invalid, match="more than 50000 entries"):
        archive.read(Stream(gzip_parts(empty_entries(1_000_000))), 10 * MIB, ROOT)  # type: ignore[arg-type]


def deep_entries(count: int) -> Iterator[bytes]:
    """Yield a crate whose files each stand in 60 directories of their own."""
    yield tar_around()[:-1024]
    for number in range(count):
        yield entry(
            "/".join(["a"] * 40), prefix=f"{ROOT}/{number}/{'/'.join(['b'] * 20)}".encode(), magic=b"ustar\x0000"
        )
    yield END


def test_half_a_million_implied_directories_are_refused() -> None:
    """No directory is an entry, but the reader remembers each: 50,000 such files took 600 MB."""
    assert "more than 50000 directories" in refusal_of(read, gzip.compress(b"".join(deep_entries(9_000)), 1))


# --- Any input --------------------------------------------------------------------------------------------------


@given(st.binary(max_size=2000) | st.binary(max_size=2000).map(gzip.compress))
def test_any_bytes_are_read_or_refused(crate: bytes) -> None:
    with suppress(Invalid):
        read(crate)


TAR = tar_around(entry(data=b"data"), long_name(b"demo-1.0.0/y\0"), entry(), entry(f"{ROOT}/d/", kind=b"5"))
HEADERS = [0, 1024, 2048, 3072, 3584]
_changes = st.tuples(
    st.sampled_from(HEADERS),
    st.sampled_from(["name", "mode", "size", "kind", "linkname", "magic", "prefix"]),
    st.integers(0, 11),
    st.sampled_from(b"\0 /.0157LxaA\x80\xff"),
)


def changed(changes: list[tuple[int, str, int, int]]) -> bytes:
    """Return `TAR` with bytes of its headers changed, and with the right checksum for each."""
    tar = bytearray(TAR)
    for start, field, position, byte in changes:
        offset, length = packing.HEADER[field]
        tar[start + offset + position % length] = byte
        tar[start + 148 : start + 156] = b" " * 8
        tar[start + 148 : start + 156] = b"%06o\0 " % sum(tar[start : start + 512])
    return bytes(tar)


def files_by_tarfile(tar: bytes) -> set[str]:
    with tarfile.open(fileobj=io.BytesIO(tar)) as file:
        members = file.getmembers()
    assert all(member.isfile() or member.isdir() for member in members)
    return {member.name.removeprefix(f"{ROOT}/") for member in members if member.isfile()}


@settings(max_examples=400)
@given(st.lists(_changes, min_size=1, max_size=3))
def test_accepted_tar_holds_the_same_for_another_reader(changes: list[tuple[int, str, int, int]]) -> None:
    tar = changed(changes)
    with suppress(Invalid):
        assert read(gzip.compress(tar, 1)).paths == files_by_tarfile(tar)

"""`.crate` files and publish bodies, valid and broken ones."""

import gzip
import io
import json
import struct
import tarfile
from collections.abc import Callable, Mapping
from typing import Any


def manifest(name: str = "demo", version: str = "1.0.0", extra: str = "") -> str:
    """Return a packed `Cargo.toml`; `extra` continues its `[package]`."""
    return f'[package]\nname = "{name}"\nversion = "{version}"\nedition = "2021"\n{extra}\n'


def tar_of(files: Mapping[str, bytes | str], **header: Any) -> bytes:
    """Return a tar of files by their full paths; `header` sets fields of each `TarInfo`."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for path, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(path)
            info.size, info.mode, info.mtime = len(data), 0o644, 1153704088
            for key, value in header.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def crate(
    name: str = "demo", version: str = "1.0.0", toml: str | None = None, files: Mapping[str, bytes | str] | None = None
) -> bytes:
    """Return a `.crate`; `files` come beside `Cargo.toml` and `src/lib.rs`, by their paths below the root."""
    contents = {"Cargo.toml": toml or manifest(name, version), "src/lib.rs": "", **(files or {})}
    return gzip.compress(tar_of({f"{name}-{version}/{path}": data for path, data in contents.items()}), mtime=0)


# Offset and length of each field in a header of a tar.
HEADER = {
    "name": (0, 100),
    "mode": (100, 8),
    "uid": (108, 8),
    "gid": (116, 8),
    "size": (124, 12),
    "mtime": (136, 12),
    "checksum": (148, 8),
    "kind": (156, 1),
    "linkname": (157, 100),
    "magic": (257, 8),
    "prefix": (345, 155),
}
END = bytes(1024)


def header(path: str | bytes = "demo-1.0.0/x", **fields: bytes) -> bytes:
    """Return a header of a tar, byte for byte as cargo writes it, but for `fields`.

    The checksum is valid unless it is one of them.
    """
    usual = {
        "name": path.encode() if isinstance(path, str) else path,
        "mode": b"0000644\0",
        "uid": b"0000000\0",
        "gid": b"0000000\0",
        "size": b"00000000000\0",
        "mtime": b"10461340130\0",
        "kind": b"0",
        "magic": b"ustar  \0",
    }
    block = bytearray(512)
    for field, value in {**usual, **fields}.items():
        start, length = HEADER[field]
        block[start : start + length] = value.ljust(length, b"\0")
    if "checksum" not in fields:
        block[148:156] = b"%06o\0 " % (sum(block) + 8 * ord(" "))
    return bytes(block)


def entry(path: str | bytes = "demo-1.0.0/x", data: bytes = b"", **fields: bytes) -> bytes:
    """Return a header and its data in whole blocks."""
    return header(path, **{"size": b"%011o\0" % len(data), **fields}) + data + bytes(-len(data) % 512)


def long_name(path: bytes, **fields: bytes) -> bytes:
    """Return a GNU entry that holds the path of the next one."""
    return entry("././@LongLink", path, **{"kind": b"L", **fields})


def tar_around(*entries: bytes) -> bytes:
    """Return a tar of `demo-1.0.0/Cargo.toml` and these entries."""
    return b"".join([entry("demo-1.0.0/Cargo.toml", manifest().encode()), *entries, END])


def crate_around(*entries: bytes) -> bytes:
    """Return a `.crate` of `demo-1.0.0/Cargo.toml` and these entries."""
    return gzip.compress(tar_around(*entries), mtime=0)


def metadata(name: str = "demo", version: str = "1.0.0", **changes: Any) -> dict[str, Any]:
    """Return the JSON that cargo sends beside a crate without dependencies."""
    return {
        "name": name,
        "vers": version,
        "deps": [],
        "features": {},
        "authors": [],
        "description": None,
        "documentation": None,
        "homepage": None,
        "readme": None,
        "readme_file": None,
        "keywords": [],
        "categories": [],
        "license": None,
        "license_file": None,
        "repository": None,
        "badges": {},
        "links": None,
        "rust_version": None,
        **changes,
    }


def dependency(name: str, requirement: str = "^1", **changes: Any) -> dict[str, Any]:
    """Return one of the JSON's `deps`, as cargo sends it for a crate of the same registry."""
    return {
        "optional": False,
        "default_features": True,
        "name": name,
        "features": [],
        "version_req": requirement,
        "target": None,
        "kind": "normal",
        **changes,
    }


def frame(json_metadata: Mapping[str, Any] | bytes, crate_file: bytes) -> bytes:
    """Return a publish body: `u32le length | JSON | u32le length | .crate`."""
    text = json_metadata if isinstance(json_metadata, bytes) else json.dumps(json_metadata).encode()
    return struct.pack("<I", len(text)) + text + struct.pack("<I", len(crate_file)) + crate_file


def body(name: str = "demo", version: str = "1.0.0", toml: str | None = None, **changes: Any) -> bytes:
    """Return a publish body, which is valid unless `toml` or `changes` of the JSON break it."""
    return frame(metadata(name, version, **changes), crate(name, version, toml))


class InterruptedUpload(io.BytesIO):
    """An upload with an event just before its last byte is read."""

    def __init__(self, body: bytes, event: Callable[[], None]) -> None:
        super().__init__(body)
        self.event: Callable[[], None] | None = event

    def read(self, size: int | None = -1, /) -> bytes:
        chunk = super().read(size)
        if self.event and self.tell() == len(self.getbuffer()):
            event, self.event = self.event, None
            event()
        return chunk

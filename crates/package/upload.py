"""Publish bodies: `u32le length | JSON | u32le length | .crate`, and nothing after it.

Source: The Cargo Book, "Registry Web API", Publish.
"""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Protocol

from registry_site.errors import Invalid, TooLarge
from registry_site.storage import free_space

LENGTHS_SIZE = 8  # the two lengths, four bytes each
MAX_METADATA_SIZE = 1024 * 1024
CHUNK = 64 * 1024


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True)
class Upload:
    """The JSON text as sent, and the crate as a seekable file at its start, which lives as long as the upload."""

    metadata: bytes
    crate: IO[bytes]


@contextmanager
def receive(body: Readable, length: int, max_crate_size: int) -> Iterator[Upload]:
    """Read a publish body of `length` bytes; sizes are in bytes.

    Raises `TooLarge` before reading a part that is over its limit, `Invalid` for lengths that contradict each other and
    for a body that ends early, and `Unavailable` if the disk for temporary files is full.
    """
    check_length(length, max_crate_size)
    metadata_length = _read_length(body, "JSON metadata")
    if metadata_length > MAX_METADATA_SIZE:
        raise TooLarge(f"The JSON metadata has {metadata_length} bytes; at most {MAX_METADATA_SIZE} are taken.")
    if metadata_length + LENGTHS_SIZE > length:
        raise Invalid(f"The JSON metadata claims {metadata_length} bytes in a body of {length}.")
    metadata = _read_exactly(body, metadata_length, "JSON metadata")
    crate_length = _read_length(body, "crate")
    if crate_length > max_crate_size:
        raise TooLarge(f"The crate has {crate_length} bytes; this registry takes at most {max_crate_size}.")
    total = metadata_length + crate_length + LENGTHS_SIZE
    if total != length:
        raise Invalid(f"The body has {length} bytes, but its lengths add up to {total}: 4 + JSON metadata + 4 + crate.")
    with free_space.TemporaryFile() as crate:
        remaining = crate_length
        while remaining:
            remaining -= crate.write(_read_exactly(body, min(remaining, CHUNK), "crate"))
        crate.seek(0)
        yield Upload(metadata, crate)


def check_length(length: int, max_crate_size: int) -> None:
    """Check the announced length of a body; raises `TooLarge`."""
    if length > max_crate_size + MAX_METADATA_SIZE + LENGTHS_SIZE:
        raise TooLarge(f"The upload has {length} bytes; this registry takes crates of at most {max_crate_size} bytes.")


def _read_length(body: Readable, label: str) -> int:
    (length,) = struct.unpack("<I", _read_exactly(body, 4, f"length of the {label}"))
    return int(length)


def _read_exactly(body: Readable, size: int, label: str) -> bytes:
    # One `read` may return less than it was asked for, since a body arrives in pieces.
    parts, remaining = [], size
    while remaining:
        part = body.read(remaining)
        if not part:
            raise Invalid(f"The body ended within the {label}.")
        parts.append(part)
        remaining -= len(part)
    return b"".join(parts)

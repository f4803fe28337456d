"""The body of a publish: `u32le length | JSON | u32le length | .crate`, and nothing after it.

Source: The Cargo Book, "Registry Web API", Publish.
"""

import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Protocol

from registry_site.errors import Invalid, TooLarge, Unavailable

MAX_METADATA_SIZE = 1024 * 1024
MAX_IN_MEMORY = 1024 * 1024
CHUNK = 64 * 1024


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True)
class Upload:
    """`metadata` is JSON text as sent; `crate` a seekable file at its start, gone when the upload is closed."""

    metadata: bytes
    crate: IO[bytes]


@contextmanager
def receive(body: Readable, length: int, maximum_crate: int) -> Iterator[Upload]:
    """Read a publish body of `length` bytes; sizes are in bytes.

    Raises `TooLarge` before reading what is over a limit, `Invalid` when lengths contradict each other or the body ends
    early, and `Unavailable` when the disk for temporary files is full.
    """
    if length > maximum_crate + MAX_METADATA_SIZE + 8:
        raise TooLarge(f"The upload has {length} bytes; this registry takes crates of at most {maximum_crate} bytes.")
    metadata_length = _length(body, "JSON metadata")
    if metadata_length > MAX_METADATA_SIZE:
        raise TooLarge(f"The JSON metadata has {metadata_length} bytes; at most {MAX_METADATA_SIZE} are taken.")
    if metadata_length + 8 > length:
        raise Invalid(f"The JSON metadata claims {metadata_length} bytes in a body of {length}.")
    metadata = _exactly(body, metadata_length, "JSON metadata")
    crate_length = _length(body, "crate")
    if crate_length > maximum_crate:
        raise TooLarge(f"The crate has {crate_length} bytes; this registry takes at most {maximum_crate}.")
    if metadata_length + crate_length + 8 != length:
        raise Invalid(
            f"The body has {length} bytes, but its lengths add up to {metadata_length + crate_length + 8}: "
            "4 + JSON metadata + 4 + crate."
        )
    with tempfile.SpooledTemporaryFile(max_size=MAX_IN_MEMORY) as crate:
        left = crate_length
        while left:
            chunk = _exactly(body, min(left, CHUNK), "crate")
            try:
                crate.write(chunk)
            except OSError as error:
                raise Unavailable(f"The registry cannot take the upload at present: {error.strerror}.") from error
            left -= len(chunk)
        crate.seek(0)
        yield Upload(metadata, crate)


def _length(body: Readable, what: str) -> int:
    (length,) = struct.unpack("<I", _exactly(body, 4, f"length of the {what}"))
    return int(length)


def _exactly(body: Readable, size: int, what: str) -> bytes:
    parts, left = [], size
    while left:
        part = body.read(left)
        if not part:
            raise Invalid(f"The body ended within the {what}.")
        parts.append(part)
        left -= len(part)
    return b"".join(parts)

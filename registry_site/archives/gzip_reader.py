"""Untrusted gzip data, unpacked piece by piece and never beyond a limit."""

import zlib
from typing import IO

from registry_site.errors import Invalid

CHUNK_SIZE = 64 * 1024  # bytes
# gzip packs zeros a thousand to one: without limits, a small upload could unpack to gigabytes.
MAX_UNPACKED = 512 * 1024 * 1024  # bytes
ALWAYS_ALLOWED = 64 * 1024 * 1024  # bytes that a small archive may have, whatever its ratio
MAX_RATIO = 100


def unpacked_limit(compressed: int) -> int:
    """Return how many bytes an archive of `compressed` bytes may unpack to."""
    return min(max(ALWAYS_ALLOWED, compressed * MAX_RATIO), MAX_UNPACKED)


class BoundedGzipReader:
    """The bytes of exactly one gzip member, read forwards, never more than `limit` of them.

    Messages call the archive by its `label`. Every method raises `Invalid` for damaged data.
    """

    def __init__(self, source: IO[bytes], limit: int, label: str) -> None:
        self.label = label
        self.source = source
        self.limit = limit
        self.position = 0
        self.decompressor = zlib.decompressobj(wbits=31)  # 16 + 15: a gzip header, not one of zlib
        self.buffer = b""

    @property
    def offset(self) -> int:
        """Where the next byte stands in the unpacked data."""
        return self.position - len(self.buffer)

    def read_chunk(self) -> bytes:
        """Return the next bytes, none at the end of the member."""
        while not self.decompressor.eof:
            data = self.decompressor.unconsumed_tail or self.source.read(CHUNK_SIZE)
            if not data:
                raise Invalid(f"The {self.label} is cut off: its gzip data does not end.")
            try:
                chunk = self.decompressor.decompress(data, CHUNK_SIZE)
            except zlib.error as error:
                raise Invalid(f"The {self.label} is not gzip data, or is damaged.") from error
            self.position += len(chunk)
            if self.position > self.limit:
                raise Invalid(f"The {self.label} unpacks to more than {self.limit} bytes.")
            if chunk:
                return chunk
        # Some tools read a second member or trailing bytes, others do not: they would see different archives.
        if self.decompressor.unused_data or self.source.read(1):
            raise Invalid(f"There is something after the {self.label}'s gzip data.")
        return b""

    def read(self, size: int) -> bytes:
        """Return exactly `size` bytes."""
        parts, missing = [self.buffer[:size]], size - len(self.buffer)
        self.buffer = self.buffer[size:]
        while missing > 0:
            chunk = self.read_chunk()
            if not chunk:
                raise Invalid(f"The {self.label} is cut off: its tar does not end.")
            parts.append(chunk[:missing])
            self.buffer = chunk[missing:]
            missing -= len(chunk)
        return b"".join(parts)

    def skip(self, size: int) -> None:
        while size > 0:
            size -= len(self.read(min(size, CHUNK_SIZE)))

    def has_only_zeros_left(self) -> bool:
        """Read to the end of the member, and tell whether all of it was zeros."""
        while data := self.buffer or self.read_chunk():
            if data.strip(b"\0"):
                return False
            self.buffer = b""
        return True

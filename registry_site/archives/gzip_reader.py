"""gzip data of strangers, unpacked piece by piece and never beyond a limit."""

import zlib
from typing import IO

from registry_site.errors import Invalid

CHUNK = 64 * 1024
MAXIMUM_UNPACKED = 512 * 1024 * 1024
ALWAYS_UNPACKED = 64 * 1024 * 1024
MAXIMUM_RATIO = 100


def limit_for(compressed: int) -> int:
    """How many bytes may come of so many compressed ones."""
    return min(max(ALWAYS_UNPACKED, compressed * MAXIMUM_RATIO), MAXIMUM_UNPACKED)


class BoundedGzipReader:
    """The bytes of exactly one gzip member, read forwards, never more than `limit` of them.

    `what` is what a refusal calls it. Raises `Invalid`.
    """

    def __init__(self, source: IO[bytes], limit: int, what: str) -> None:
        self.what = what
        self.source = source
        self.limit = limit
        self.position = 0
        self.inflater = zlib.decompressobj(wbits=31)
        self.buffer = b""

    def _more(self) -> bytes:
        """The next bytes, or none at the end of the member."""
        while not self.inflater.eof:
            data = self.inflater.unconsumed_tail or self.source.read(CHUNK)
            if not data:
                raise Invalid(f"The {self.what} is cut off: its gzip data does not end.")
            try:
                inflated = self.inflater.decompress(data, CHUNK)
            except zlib.error as error:
                raise Invalid(f"The {self.what} is not gzip data, or is damaged.") from error
            self.position += len(inflated)
            if self.position > self.limit:
                raise Invalid(f"The {self.what} unpacks to more than {self.limit} bytes.")
            if inflated:
                return inflated
        if self.inflater.unused_data or self.source.read(1):
            raise Invalid(f"There is something after the {self.what}'s gzip data.")
        return b""

    def read(self, size: int) -> bytes:
        parts, missing = [self.buffer[:size]], size - len(self.buffer)
        self.buffer = self.buffer[size:]
        while missing > 0:
            data = self._more()
            if not data:
                raise Invalid(f"The {self.what} is cut off: its tar does not end.")
            parts.append(data[:missing])
            self.buffer = data[missing:]
            missing -= len(data)
        return b"".join(parts)

    def skip(self, size: int) -> None:
        while size > 0:
            size -= len(self.read(min(size, CHUNK)))

    def only_zeros_left(self) -> bool:
        while data := self.buffer or self._more():
            if data.strip(b"\0"):
                return False
            self.buffer = b""
        return True

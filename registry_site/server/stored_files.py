"""Files on the local disk as the main loop of a worker sends them, which must not wait for the disk.

It sends what the system has in its memory (`RWF_NOWAIT`). For all else, and for a file that is missing or of another
size, a thread answers in the ordinary way, which reads it into that memory or reports it. Two waits are left, both
short: for the folder of a file that nobody has opened for long, and for a slice that the system has given up meanwhile.
"""

import os
import socket
from typing import NamedTuple

SMALL_FILE = 64 * 1024  # bytes, up to which a file is sent with the head of its answer
MAX_FILE = 64 * 1024 * 1024  # bytes; whether the system has a longer one in its memory takes too long to say
SENT_AT_ONCE = 1024 * 1024  # bytes; the main loop serves other connections in between
READ_AT_ONCE = 64 * 1024  # bytes, over TLS
WITHOUT_WAITING = getattr(os, "RWF_NOWAIT", 0)  # of Linux


class StoredFile(NamedTuple):
    """A file that no change of the registry changes as long as its answer is kept."""

    path: str
    size: int

    def is_whole(self) -> bool:
        try:
            return os.stat(self.path).st_size == self.size
        except OSError:
            return False

    def read(self) -> bytearray | None:
        """Return the bytes; None if they are not in memory, or not as many."""
        content = bytearray(self.size + 1)  # one more shows that the file is longer
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            size = os.preadv(descriptor, [content], 0, WITHOUT_WAITING)
        except OSError:  # not in memory, or a file system that cannot tell
            return None
        finally:
            os.close(descriptor)
        if size != self.size:
            return None
        del content[size:]
        return content

    def open(self) -> "OpenFile | None":
        """Open the file to send it in slices; None as for `read`."""
        try:
            file = OpenFile(os.open(self.path, os.O_RDONLY | os.O_CLOEXEC), self.size)
        except OSError:
            return None
        if file.is_in_memory():
            return file
        file.close()
        return None


class OpenFile:
    """A file of which some bytes have been sent."""

    def __init__(self, descriptor: int, size: int) -> None:
        self.descriptor, self.size, self.position = descriptor, size, 0

    def is_in_memory(self) -> bool:
        """Tell whether the file is whole and in memory, as far as a look at each slice shows."""
        byte = bytearray(1)
        try:
            return os.fstat(self.descriptor).st_size == self.size and all(
                os.preadv(self.descriptor, [byte], position, WITHOUT_WAITING)
                for position in (*range(0, self.size, SENT_AT_ONCE), self.size - 1)
            )
        except OSError:
            return False

    def has_more(self) -> bool:
        return self.position < self.size

    def send(self, sock: socket.socket) -> None:
        """Send what a connection without TLS takes now, up to a slice. Raises `OSError`."""
        length = min(self.size - self.position, SENT_AT_ONCE)
        self.position += self._more(os.sendfile(sock.fileno(), self.descriptor, self.position, length))

    def read(self) -> bytes:
        """Return the next bytes, for a connection with TLS. Raises `OSError`."""
        content = os.pread(self.descriptor, min(self.size - self.position, READ_AT_ONCE), self.position)
        self.position += self._more(len(content))
        return content

    def _more(self, size: int) -> int:
        if not size:
            raise OSError("A file has become shorter while it was sent.")
        return size

    def close(self) -> None:
        os.close(self.descriptor)

"""Header blocks and frames of HTTP/2 for answers that are kept in memory.

The fields are literals that no table gets, with names by the static table. So a block is the same for each connection,
whatever the tables of its two sides hold, and h2 can go on sending others.
"""

from gunicorn import SERVER
from gunicorn.util import http_date
from hpack.hpack import encode_integer
from hpack.table import HeaderTable

from registry_site.http.request_log import HEADER as REQUEST_ID
from registry_site.server.response_cache import KeptAnswer

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, END_HEADERS, PADDED, WITH_PRIORITY = 0x1, 0x4, 0x8, 0x20
HEADER_BYTES = 9  # of each frame

STATIC_INDEXES = {name: HeaderTable.STATIC_TABLE_MAPPING[name][0] for name, _ in HeaderTable.STATIC_TABLE}


def frame_header(length: int, kind: int, flags: int, stream: int) -> bytes:
    return length.to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big")


def reset(stream: int, error: int) -> bytes:
    return frame_header(4, RST_STREAM, 0, stream) + error.to_bytes(4, "big")


def name_of(name: bytes) -> bytes:
    """Encode the name of a literal that is not indexed."""
    if index := STATIC_INDEXES.get(name):
        return bytes(encode_integer(index, 4))
    return b"\0" + bytes(encode_integer(len(name), 7)) + name


def field(name: bytes, value: bytes) -> bytes:
    """Encode a literal that is not indexed."""
    return name_of(name) + bytes(encode_integer(len(value), 7)) + value


def status_field(status: str) -> bytes:
    """Encode the status of a kept answer, for which the static table has an entry."""
    _, by_value = HeaderTable.STATIC_TABLE_MAPPING[b":status"]
    return bytes([0x80 | by_value[status.split()[0].encode()]])


def fields_of(lines: bytes) -> bytes:
    """Encode the lines of a head of HTTP/1.1."""
    pairs = (line.partition(b": ") for line in lines.split(b"\r\n") if line)
    return b"".join(field(name.lower(), value) for name, _, value in pairs)


def parts_of(answer: KeptAnswer) -> tuple[bytes, bytes]:
    """Return the block of an answer before and behind the value of its id, without the last fields."""
    id_line = f"{REQUEST_ID}: ".encode()
    before = status_field(answer.status) + fields_of(answer.before_id.removesuffix(id_line))
    return before + name_of(id_line[:-2].lower()), fields_of(answer.after_id)


def last_fields(second: int) -> bytes:
    """Return the fields that gunicorn adds to each answer."""
    return field(b"server", SERVER.encode()) + field(b"date", http_date(second).encode())

"""Requests over HTTP/2 whose answers may be in memory, read from the header blocks of their frames.

A header block can change the table of its connection, so each is decoded once, in the order in which they come. What
the main loop has decoded, and cannot answer, h2 gets decoded. Most blocks change no table: clients send the path and
the ETag as literals that are not indexed. The same block then means the same request as long as the table is the same,
on each connection with such a table, so the request is remembered.
"""

from collections.abc import Iterable
from typing import Any

from hpack import Decoder
from hpack.exceptions import HPACKError
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

from registry_site.server.request_heads import (
    HARMLESS,
    MAX_HEAD_BYTES,
    MAX_REMEMBERED_BYTES,
    OF_CONNECTION,
    TARGET,
    VALUE,
    HeadReader,
    PlainRequest,
)

Fields = list[tuple[bytes, bytes]]

DECODING_ERRORS = (HPACKError, IndexError, TypeError, UnicodeDecodeError)  # those that h2 expects of it
STATIC_TABLE = HeaderTable.STATIC_TABLE
PSEUDO_HEADERS = frozenset((b":method", b":scheme", b":authority", b":path"))
# h2 knows the rules for the others: `Connection` is forbidden, and `Host` repeats `:authority`.
PLAIN_FIELDS = (HARMLESS - OF_CONNECTION - {b"host"}) | PSEUDO_HEADERS
COPIES = 5  # of the texts of a block that its request has, decoded
OVERHEAD = 400  # bytes of memory that each remembered block takes beside these


class BlockDecoder(Decoder):
    """The decoder of a connection. h2 gets from it what the main loop has decoded before."""

    def __init__(self) -> None:
        super().__init__()
        self.decoded: Fields | Exception | None = None  # the block that h2 reads next
        self.remembered: dict[bytes, PlainRequest] | None = None  # with the present table
        self.age = 0  # of the memory

    def decode(self, data: bytes, raw: bool = False) -> Iterable[Any]:
        """Decode a block, which may change the table, or return what was decoded of it. h2 wants it raw."""
        decoded, self.decoded = self.decoded, None
        if isinstance(decoded, Exception):
            raise decoded
        if decoded is not None:
            return decoded
        self.remembered = None
        return super().decode(data, raw)

    def decode_first(self, block: bytes) -> Fields | None:
        """Decode a block that may change the table before h2 does; None if h2 has to refuse it."""
        try:
            self.decoded = list(self.decode(block, raw=True))
        except DECODING_ERRORS as error:
            self.decoded = error
            return None
        return self.decoded

    def fields_of(self, block: bytes) -> Fields | None:
        """Decode a block of indexed fields and literals with an indexed name, which change nothing; else None."""
        dynamic_table = self.header_table.dynamic_entries
        fields: Fields = []
        position, end = 0, len(block)
        try:
            while position < end:
                first = block[position]
                position += 1
                is_indexed = first & 0x80
                if not is_indexed and first & 0x60:
                    return None
                most = 0x7F if is_indexed else 0x0F
                index = first & most
                if index == most:  # it goes on in the next byte, and mostly ends there
                    index += block[position]
                    if block[position] & 0x80:
                        return None
                    position += 1
                if not index:
                    return None
                is_static = index <= len(STATIC_TABLE)
                entry = STATIC_TABLE[index - 1] if is_static else dynamic_table[index - 1 - len(STATIC_TABLE)]
                if is_indexed:
                    fields.append(entry)
                    continue
                length = block[position] & 0x7F
                value = block[position + 1 : position + 1 + length]
                if length == 0x7F or len(value) < length:
                    return None
                fields.append((entry[0], decode_huffman(value) if block[position] & 0x80 else value))
                position += 1 + length
        except (IndexError, HPACKError):
            return None
        return fields


class RequestReader:
    """A reader of header blocks that remembers those that are answered, up to a number of bytes."""

    def __init__(self, heads: HeadReader) -> None:
        self.heads = heads
        self.tables: dict[tuple[tuple[bytes, bytes], ...], dict[bytes, PlainRequest]] = {}
        self.age = self.bytes = 0

    def read(
        self, decoder: BlockDecoder, block: bytes, *, may_change: bool
    ) -> tuple[PlainRequest | None, Fields | None]:
        """Return the request of a block, or None if it is not plain; and the fields if they may have changed the table.

        If `may_change` is false, a block that may change the table is left for later.
        """
        if request := self.remembered(decoder).get(block):
            return request, None
        if len(block) > MAX_HEAD_BYTES:
            return None, None
        if fields := decoder.fields_of(block):
            return plain_request(fields, self.heads), None
        if not may_change:
            raise Later
        fields = decoder.decode_first(block)
        return (plain_request(fields, self.heads) if fields else None), fields

    def remembered(self, decoder: BlockDecoder) -> dict[bytes, PlainRequest]:
        """Return the blocks that are remembered with the present table of a decoder."""
        if decoder.remembered is None or decoder.age != self.age:
            table = tuple(decoder.header_table.dynamic_entries)
            if table not in self.tables:
                self.count(sum(len(name) + len(value) + OVERHEAD for name, value in table) + OVERHEAD)
            decoder.remembered, decoder.age = self.tables.setdefault(table, {}), self.age
        return decoder.remembered

    def remember(self, decoder: BlockDecoder, block: bytes, request: PlainRequest) -> None:
        """Remember a block that changes no table, and for which there is an answer."""
        remembered = self.remembered(decoder)
        if not request.request_id and block not in remembered:
            remembered[block] = request
            self.count(len(block) * COPIES + OVERHEAD)

    def count(self, size: int) -> None:
        self.bytes += size
        if self.bytes > MAX_REMEMBERED_BYTES:
            self.tables.clear()
            self.bytes = 0
            self.age += 1


class Later(Exception):
    """A block that may change the table comes behind requests whose answers are not certain yet."""


def plain_request(fields: Iterable[tuple[bytes, bytes]], heads: HeadReader) -> PlainRequest | None:
    """Return the request with these fields; None if it is not plain."""
    headers: dict[bytes, bytes] = {}
    for number, (name, value) in enumerate(fields):
        if (number < len(PSEUDO_HEADERS)) != (name in PSEUDO_HEADERS):
            return None  # each of them stands once, before the others
        if name not in PLAIN_FIELDS or name in headers or not VALUE.fullmatch(value) or value.strip(b" ") != value:
            return None
        headers[name] = value
    method, target = headers.get(b":method"), headers.get(b":path", b"")
    if len(headers) < len(PSEUDO_HEADERS) or method not in (b"GET", b"HEAD") or headers[b":scheme"] != b"https":
        return None
    if not TARGET.fullmatch(target):
        return None
    headers[b"host"] = headers[b":authority"]
    return heads.request(target, headers, is_head=method == b"HEAD")

"""Publish bodies: two lengths, two parts, and nothing after them."""

import io
import struct
from typing import Any

import pytest

from crates.package import upload
from registry_site.errors import Invalid, TooLarge, Unavailable
from tests.support.refusals import refusal_of

pytestmark = pytest.mark.database_independent

BODY = struct.pack("<I", 2) + b"{}" + struct.pack("<I", 5) + b"crate"
MAXIMUM = 100


def receive(body: bytes, length: int | None = None) -> tuple[bytes, bytes]:
    """Receive a body that is announced with `length` bytes; return its metadata and crate."""
    announced = len(body) if length is None else length
    with upload.receive(io.BytesIO(body), announced, MAXIMUM) as received:
        return received.metadata, received.crate.read()


class UnreadableBody:
    """A body that must not be read."""

    def read(self, size: int, /) -> bytes:
        raise AssertionError("The body was read.")


class SlowBody:
    """A body that arrives byte by byte."""

    def __init__(self, body: bytes) -> None:
        self.rest = io.BytesIO(body)

    def read(self, size: int, /) -> bytes:
        return self.rest.read(min(size, 1))


def test_body_is_split_into_its_parts() -> None:
    assert receive(BODY) == (b"{}", b"crate")


def test_body_may_come_slowly() -> None:
    with upload.receive(SlowBody(BODY), len(BODY), MAXIMUM) as received:
        assert (received.metadata, received.crate.read()) == (b"{}", b"crate")


def test_crate_of_the_maximum_is_accepted() -> None:
    body = struct.pack("<II", 0, MAXIMUM) + bytes(MAXIMUM)
    assert receive(body) == (b"", bytes(MAXIMUM))


def test_crate_over_the_maximum_is_refused() -> None:
    with pytest.raises(TooLarge, match="101 bytes"):
        receive(struct.pack("<II", 0, MAXIMUM + 1) + bytes(MAXIMUM + 1))


def test_oversize_body_is_refused_unread() -> None:
    for length in (MAXIMUM + upload.MAX_METADATA_SIZE + 9, 5 * 2**30, 2**63, 10**30):
        with pytest.raises(TooLarge), upload.receive(UnreadableBody(), length, MAXIMUM):
            pass


def test_body_of_the_greatest_length_is_accepted() -> None:
    body = struct.pack("<I", 2**20) + bytes(2**20) + struct.pack("<I", MAXIMUM) + bytes(MAXIMUM)
    assert receive(body) == (bytes(2**20), bytes(MAXIMUM))


def test_metadata_over_the_announced_length_is_refused_unread() -> None:
    class OnlyLength(UnreadableBody):
        def read(self, size: int, /) -> bytes:
            return struct.pack("<I", 1000) if size == 4 else super().read(size)

    with pytest.raises(Invalid, match="claims 1000 bytes"), upload.receive(OnlyLength(), 1007, MAXIMUM):
        pass


def test_oversize_metadata_is_refused_unread() -> None:
    body = struct.pack("<I", upload.MAX_METADATA_SIZE + 1)
    with pytest.raises(TooLarge, match="JSON metadata"):
        receive(body, upload.MAX_METADATA_SIZE + 1 + 8)


def test_body_that_ends_early_is_refused() -> None:
    refusals = {end: refusal_of(receive, BODY[:end], len(BODY)) for end in range(len(BODY))}
    assert [end for end, refusal in refusals.items() if "ended within" not in refusal] == []


def test_length_that_contradicts_the_body_is_refused() -> None:
    lengths = [*range(len(BODY)), len(BODY) + 1, len(BODY) + 1000, -1, -(10**9)]
    assert [length for length in lengths if not refusal_of(receive, BODY + bytes(1000), length)] == []


def test_metadata_length_that_claims_more_is_refused() -> None:
    lengths = [3, 6, 15, 100, 2**20, 2**31, 2**32 - 1]
    bodies = {length: struct.pack("<I", length) + BODY[4:] for length in lengths}
    assert [length for length, body in bodies.items() if not refusal_of(receive, body)] == []


def test_crate_length_has_to_be_the_rest() -> None:
    lengths = [0, 4, 6, 101, 2**31, 2**32 - 1]
    bodies = {length: BODY[:6] + struct.pack("<I", length) + b"crate" for length in lengths}
    assert [length for length, body in bodies.items() if not refusal_of(receive, body)] == []


def test_crate_file_is_gone_afterwards() -> None:
    with upload.receive(io.BytesIO(BODY), len(BODY), MAXIMUM) as received:
        pass
    assert received.crate.closed


def test_full_disk_is_reported(settings: Any) -> None:
    settings.MIN_FREE_SPACE = 10**15
    with pytest.raises(Unavailable, match="too little free space"):
        receive(BODY)

"""The body of a publish: two lengths, two parts, and nothing else."""

import io
import struct

import pytest

from crates.package import upload
from registry_site.errors import Invalid, TooLarge

pytestmark = pytest.mark.database_independent

BODY = struct.pack("<I", 2) + b"{}" + struct.pack("<I", 5) + b"crate"
MAXIMUM = 100


def receive(body: bytes, length: int | None = None) -> tuple[bytes, bytes]:
    """Metadata and crate of a body that is announced with `length` bytes."""
    announced = len(body) if length is None else length
    with upload.receive(io.BytesIO(body), announced, MAXIMUM) as received:
        return received.metadata, received.crate.read()


class Untouched:
    """A body of which nothing may be read."""

    def read(self, size: int, /) -> bytes:
        raise AssertionError("The body was read.")


class Dripping:
    """A body that comes byte by byte."""

    def __init__(self, body: bytes) -> None:
        self.left = io.BytesIO(body)

    def read(self, size: int, /) -> bytes:
        return self.left.read(min(size, 1))


def test_body_falls_into_its_parts() -> None:
    assert receive(BODY) == (b"{}", b"crate")


def test_body_may_come_slowly() -> None:
    with upload.receive(Dripping(BODY), len(BODY), MAXIMUM) as received:
        assert (received.metadata, received.crate.read()) == (b"{}", b"crate")


def test_crate_of_the_maximum_is_taken() -> None:
    body = struct.pack("<II", 0, MAXIMUM) + bytes(MAXIMUM)
    assert receive(body) == (b"", bytes(MAXIMUM))


def test_crate_over_the_maximum_is_refused() -> None:
    with pytest.raises(TooLarge, match="101 bytes"):
        receive(struct.pack("<II", 0, MAXIMUM + 1) + bytes(MAXIMUM + 1))


@pytest.mark.parametrize("length", [MAXIMUM + upload.MAX_METADATA_SIZE + 9, 5 * 2**30, 2**63, 10**30])
def test_oversize_body_is_refused_unread(length: int) -> None:
    with pytest.raises(TooLarge), upload.receive(Untouched(), length, MAXIMUM):
        pass


def test_oversize_metadata_is_refused_unread() -> None:
    body = struct.pack("<I", upload.MAX_METADATA_SIZE + 1)
    with pytest.raises(TooLarge, match="JSON metadata"):
        receive(body, upload.MAX_METADATA_SIZE + 1 + 8)


@pytest.mark.parametrize("end", range(len(BODY)))
def test_body_that_ends_early_is_refused(end: int) -> None:
    with pytest.raises(Invalid, match="ended within"):
        receive(BODY[:end], len(BODY))


@pytest.mark.parametrize("length", [*range(len(BODY)), len(BODY) + 1, len(BODY) + 1000, 0, -1, -(10**9)])
def test_lengths_that_contradict_the_announced_one_are_refused(length: int) -> None:
    with pytest.raises(Invalid):
        receive(BODY + bytes(1000), length)


@pytest.mark.parametrize("metadata_length", [3, 6, 15, 100, 2**20, 2**31, 2**32 - 1])
def test_metadata_length_that_claims_more_is_refused(metadata_length: int) -> None:
    with pytest.raises(Invalid):
        receive(struct.pack("<I", metadata_length) + BODY[4:])


@pytest.mark.parametrize("crate_length", [0, 4, 6, 101, 2**31, 2**32 - 1])
def test_crate_length_that_is_not_the_rest_is_refused(crate_length: int) -> None:
    with pytest.raises(Invalid):
        receive(BODY[:6] + struct.pack("<I", crate_length) + b"crate")


def test_crate_file_is_gone_afterwards() -> None:
    with upload.receive(io.BytesIO(BODY), len(BODY), MAXIMUM) as received:
        pass
    assert received.crate.closed

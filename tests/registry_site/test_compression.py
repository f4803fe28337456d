"""Index files in gzip for clients that take it, with ETags that go on working."""

import gzip

import pytest

from registry_site.http.compression import takes_gzip
from tests.support import packing
from tests.support.cast import CargoClient

PATH = "/index/de/mo/demo"
OF_CARGO = {"Accept-Encoding": "deflate, gzip"}


def test_header_says_whether_gzip_is_taken() -> None:
    taken = ("gzip", "deflate, gzip", "br;q=1, GZIP ; q=0.5", "gzip;q=1.0", "identity,gzip")
    refused = ("", "identity", "*", "br", "gzip;q=0", "gzip; q=0.00", "x-gzip", "gzipped")
    assert ([text for text in taken if not takes_gzip(text)], [text for text in refused if takes_gzip(text)]) == (
        [],
        [],
    )


@pytest.fixture
def reader(as_alice: CargoClient) -> CargoClient:
    """A client of a crate with an index file that is worth compressing."""
    for number in range(8):
        as_alice.publish(packing.body(version=f"1.0.{number}"))
    return as_alice


def test_compressed_index_file_is_the_same_text(reader: CargoClient) -> None:
    plain, packed = reader.get(PATH), reader.get(PATH, headers=OF_CARGO)
    assert gzip.decompress(packed.content) == plain.content
    assert (packed["Content-Encoding"], packed["ETag"]) == ("gzip", f"W/{plain['ETag']}")
    assert "Content-Encoding" not in plain
    assert all("Accept-Encoding" in response["Vary"] for response in (plain, packed))


def test_tags_of_both_forms_are_answered_by_304(reader: CargoClient) -> None:
    tags = {reader.get(PATH)["ETag"], reader.get(PATH, headers=OF_CARGO)["ETag"]}
    statuses = [
        reader.get(PATH, headers={"If-None-Match": tag, **encoding}).status_code
        for tag in tags
        for encoding in ({}, OF_CARGO)
    ]
    assert (len(tags), statuses) == (2, [304] * 4)


def test_short_index_file_is_sent_as_it_is(as_alice: CargoClient) -> None:
    as_alice.publish(packing.body())
    assert "Content-Encoding" not in as_alice.get(PATH, headers=OF_CARGO)

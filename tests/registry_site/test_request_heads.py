"""Heads in the memory of a worker: which are remembered, and how many."""

import pytest

from registry_site.server import request_heads
from registry_site.server.request_heads import HeadReader


def head(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()


@pytest.fixture
def reader(settings: object) -> HeadReader:
    settings.ALLOWED_HOSTS = ["127.0.0.1"]  # type: ignore[attr-defined]
    return HeadReader()


def test_head_without_an_answer_is_not_remembered(reader: HeadReader) -> None:
    assert reader.read(head("/link/secret"))
    assert reader.remembered == {}


def test_remembered_heads_are_bounded(reader: HeadReader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_heads, "MAX_REMEMBERED_BYTES", 5000)
    for number in range(100):
        request = reader.read(head(f"/{number}{'x' * 100}"))
        assert request
        reader.remember(head(f"/{number}{'x' * 100}"), request)
    assert 0 < len(reader.remembered) <= 8

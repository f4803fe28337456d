"""What holds for every page: few queries, little weight, one heading, a title, nothing inline."""

import gzip
import re
from collections.abc import Iterator

import pytest
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import DjangoDbBlocker

from accounts.models import User
from tests.support import sample_registry
from tests.support.pages import PAGES, Page

pytestmark = [pytest.mark.django_db, pytest.mark.long]

MAX_QUERIES = 10
SESSION_QUERIES = 3  # which tell who is signed in
MAX_BYTES = 40_000  # compressed
INLINE = re.compile(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)|javascript:", re.IGNORECASE)


@pytest.fixture(scope="module")
def sample(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    with django_db_blocker.unblock(), sample_registry.filled(tmp_path_factory.mktemp("sample")):
        yield


@pytest.fixture(autouse=True)
def blob_directory() -> None:
    """No directory of each test: the sample has one for the whole module."""


@pytest.fixture(scope="module")
def answers(sample: None) -> dict[Page, tuple[int, str, int]]:
    """The status, the text and the number of queries of each page."""
    return {page: fetch(page) for page in PAGES}


def fetch(page: Page) -> tuple[int, str, int]:
    client = Client(raise_request_exception=False)
    if page.visitor:
        client.force_login(User.objects.get_named(page.visitor))
    cache.clear()
    with CaptureQueriesContext(connection) as queries:
        response = client.get(page.path, headers={"Accept": "text/html"})
    changes = [query["sql"] for query in queries if not query["sql"].lstrip("(").startswith("SELECT")]
    assert changes == [] or all("SAVEPOINT" in change for change in changes), (page, changes)
    return response.status_code, response.content.decode(), len(queries) - len(changes)


def test_pages_answer_as_listed(answers: dict[Page, tuple[int, str, int]]) -> None:
    assert {page.name: status for page, (status, _, _) in answers.items() if status != page.status} == {}


def test_pages_take_few_queries(answers: dict[Page, tuple[int, str, int]]) -> None:
    limits = {page: MAX_QUERIES + SESSION_QUERIES * bool(page.visitor) for page in PAGES}
    assert {page.name: count for page, (_, _, count) in answers.items() if count > limits[page]} == {}


def test_pages_weigh_little(answers: dict[Page, tuple[int, str, int]]) -> None:
    weights = {page.name: len(gzip.compress(text.encode())) for page, (_, text, _) in answers.items()}
    assert {name: weight for name, weight in weights.items() if weight > MAX_BYTES} == {}


def test_pages_have_one_heading_and_own_titles(answers: dict[Page, tuple[int, str, int]]) -> None:
    headings = {page.name: text.partition("<article")[0].count("<h1") for page, (_, text, _) in answers.items()}
    assert {name: count for name, count in headings.items() if count != 1} == {}
    untitled = [page.name for page, (_, text, _) in answers.items() if "<title>Entrepot</title>" in text]
    assert [name for name in untitled if not name.startswith("home")] == []


def test_pages_have_nothing_inline(answers: dict[Page, tuple[int, str, int]]) -> None:
    matches = {page.name: INLINE.findall(text) for page, (_, text, _) in answers.items()}
    assert {name: parts for name, parts in matches.items() if parts} == {}

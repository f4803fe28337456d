"""Hostile READMEs on the page of a crate, in Chromium: its policy stops nothing, for nothing is left to stop."""

import pytest
from django.test import Client
from playwright.sync_api import sync_playwright
from pytest_django import DjangoAssertNumQueries

from tests.support.cast import CargoClient
from tests.support.chromium import CHROMIUM
from tests.support.hostile_readmes import LARGER, READMES
from tests.support.readme_pages import PHONE, Readme, look_at, publish, watched_tab
from tests.support.servers import Server

OPTIONS = ["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
SERVER_SETTINGS = {"REGISTRY_PUBLISH_LIMIT_PER_10_SECONDS": "0"}
MAX_QUERIES = 10

pytestmark = pytest.mark.long


@pytest.mark.skipif(not CHROMIUM.exists(), reason="chromium is not installed")
@pytest.mark.database_independent
def test_hostile_readmes_harm_no_page(server: Server) -> None:
    readmes = {title: Readme(f"readme-{number}", text) for number, (title, text) in enumerate(READMES.items())}
    token = server.sign_up("alice")
    for readme in readmes.values():
        publish(server, token, readme)
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS) as browser,
        browser.new_context(base_url=server.url, viewport=PHONE) as context,
        watched_tab(context) as tab,
    ):
        findings = {title: look_at(tab, f"/crates/{readme.name}") for title, readme in readmes.items()}
    assert {title: each.wrong for title, each in findings.items() if each.wrong} == {}
    assert any(each.image_hosts for each in findings.values())  # images over HTTPS are asked for


def test_large_readmes_take_few_queries(
    as_alice: CargoClient, client: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for title in ("a table of a megabyte", "the largest table", "a thousand badges"):
        readme = Readme(title.replace(" ", "-"), LARGER[title])
        assert as_alice.publish(readme.body()).status_code == 200
        with django_assert_max_num_queries(MAX_QUERIES):
            assert client.get(f"/crates/{readme.name}", headers={"Accept": "text/html"}).status_code == 200

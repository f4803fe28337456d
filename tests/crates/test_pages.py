"""Pages of crates, and the way to them from addresses of the index."""

from typing import Any

import pytest
from django.test import Client

from accounts.models import User
from crates.models import Version, VersionContents
from tests.support import packing
from tests.support.cast import PASSWORD, CargoClient

HTML = {"Accept": "text/html"}


@pytest.fixture(autouse=True)
def demo(as_alice: CargoClient) -> None:
    as_alice.publish(packing.body("My-Demo", toml=packing.manifest("My-Demo", extra='description = "<b>bold</b>"')))


def test_page_shows_versions_and_readme(client: Client) -> None:
    readme = {"readme_html": "<p>Read me</p>"}
    VersionContents.objects.update_or_create(version=Version.objects.get(), defaults=readme)
    text = client.get("/crates/my_demo").content.decode()
    offenders = [part for part in ("My-Demo", "1.0.0", "<p>Read me</p>", "&lt;b&gt;bold") if part not in text]
    assert offenders == []


def test_page_takes_four_queries(client: Client, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(4):
        client.get("/crates/my-demo")


def test_page_can_require_an_account(client: Client, alice: User, settings: Any) -> None:
    settings.AUTH_REQUIRED = True
    assert client.get("/crates/my-demo", headers=HTML)["Location"] == "/sign-in?next=%2Fcrates%2Fmy-demo"
    client.login(username=alice.username, password=PASSWORD)
    assert client.get("/crates/my-demo", headers=HTML).status_code == 200


def test_browser_at_the_index_gets_the_page(client: Client) -> None:
    for path in ("/index/my-demo", "/index//my-demo", "/index/my/-d/my-demo"):
        response = client.get(path, headers=HTML)
        assert (response.status_code, response["Location"]) == (302, "/crates/my-demo"), path
        assert "Accept" in response["Vary"]
    assert client.get("/mirror/index/serde", headers=HTML)["Location"] == "/mirror/crates/serde"


def test_odd_paths_of_the_index_lead_nowhere(client: Client) -> None:
    paths = ("", "my/-d/", "config.json/", "..", "my-demo/.git", "é", "a b")
    assert {client.get(f"/index/{path}", headers=HTML).status_code for path in paths} == {404}


def test_config_of_the_index_is_for_browsers_too(client: Client) -> None:
    assert client.get("/index/config.json", headers=HTML).json()["dl"] == "http://testserver/dl"

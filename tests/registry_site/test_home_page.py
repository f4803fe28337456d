"""The home page: what is new, how to begin, and nothing of it for strangers where signing in is required."""

from typing import Any

from django.core.cache import cache
from django.test import Client

from accounts.models import User
from tests.support.crate_rows import Listing, create_crate_of, create_crates

PAGE = {"Accept": "text/html"}


def home(client: Client) -> str:
    response = client.get("/", headers=PAGE)
    assert response.status_code == 200
    return response.content.decode()


def test_empty_registry_explains_the_first_steps(client: Client, db: None) -> None:
    page = home(client)
    assert "This registry is empty, and ready." in page
    for line in ('index = "sparse+http://testserver/index/"', "cargo login --registry entrepot", "/mirror/index/"):
        assert line.replace('"', "&quot;") in page


def test_home_lists_new_updated_and_popular(client: Client, alice: User) -> None:
    create_crates([Listing("young", "It is young.", downloads=3)], alice)
    create_crate_of(5, alice, "mature")
    shown = [[name for name in ("young", "mature") if f">{name}</a>" in column] for column in lists(home(client))]
    assert shown == [["young", "mature"], ["mature"], ["young", "mature"]]  # new, just updated, most downloaded


def lists(page: str) -> list[str]:
    return page.split('<ul class="entries dense">')[1:]


def test_counters_stand_on_the_home_page(client: Client, alice: User) -> None:
    create_crates([Listing("only", downloads=1)], alice)
    page = home(client)
    assert "<dt>crate</dt><dd>1</dd>" in page
    assert "<dt>packages</dt><dd>0</dd>" in page


def test_home_hides_content_where_auth_is_required(client: Client, alice: User, settings: Any) -> None:
    settings.AUTH_REQUIRED = True
    create_crates([Listing("secret")], alice)
    page = home(client)
    assert "secret" not in page
    assert "cargo login" in page
    client.force_login(alice)
    assert "secret" in home(client)


def test_home_takes_few_queries(client: Client, alice: User, django_assert_max_num_queries: Any) -> None:
    create_crates([Listing(f"crate-{number}", downloads=number) for number in range(30)], alice)
    with django_assert_max_num_queries(10):
        home(client)
    client.force_login(alice)
    cache.clear()
    with django_assert_max_num_queries(10 + 3):  # three for the session
        home(client)

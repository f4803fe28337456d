"""Lists of the admin site: what their URLs and forms may ask for, in each of them."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.test import Client, RequestFactory

from accounts import registration
from accounts.models import User
from registry_site.admin.base import DomainAdmin
from tests.support.admin import hire, sign_in_to_admin
from tests.support.cast import PASSWORD

pytestmark = pytest.mark.long

FRAME = 'id="site-name"'
SEARCH = "A list takes the filters beside it and the search above it, and nothing else."
JUNK = (
    "junk",
    "9" * 40,
    "-1",
    "0001-01-01 00:00:00+23:59",
    "2026-01-01 00:00:00+16:00",
    "9999-12-31 23:59:59-23:59",
    "2026-13-45 99:99:99+00:00",
)


def lists() -> Iterator[tuple[str, Any]]:
    """Iterate over all lists of the admin site, each with its path."""
    for model, model_admin in admin.site._registry.items():
        yield f"/admin/{model._meta.app_label}/{model._meta.model_name}/", model_admin


def filtered_paths(model_admin: Any) -> set[str]:
    """Return the paths to the columns that a list filters by, and the parameters of its boxes."""
    entries = [entry[0] if isinstance(entry, tuple) else entry for entry in model_admin.list_filter]
    return {entry if isinstance(entry, str) else entry.parameter_name for entry in entries}


def lookups_of(model_admin: Any) -> Iterator[str]:
    """Iterate over lookups of each column, and of the columns behind each relation."""
    for field in model_admin.model._meta.get_fields():
        columns = [field.name]
        if field.is_relation and field.related_model:
            columns += [f"{field.name}__{column.name}" for column in field.related_model._meta.concrete_fields]
        yield from (f"{column}{suffix}" for column in columns for suffix in ("", "__regex"))


def test_lists_have_the_base_class_of_ours() -> None:
    assert [path for path, model_admin in lists() if not isinstance(model_admin, DomainAdmin)] == []


@pytest.fixture
def bare_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages without the admin site's navigation, which takes longer than all else of them."""
    monkeypatch.setattr(admin.site, "each_context", lambda request: {})


def view(model_admin: Any, user: User, query: dict[str, str]) -> int:
    """Return the status of a list; calling the view spares thousands of requests their session."""
    request = RequestFactory().get("/", query)
    request.user = user
    request.resolver_match = None
    response = model_admin.changelist_view(request)
    if response.status_code == 200:
        response.render()
    return int(response.status_code)


@pytest.mark.usefixtures("bare_pages")
def test_lists_take_no_lookup_but_their_filters(root: User) -> None:
    offenders = []
    for path, model_admin in lists():
        declared = filtered_paths(model_admin)
        for lookup in lookups_of(model_admin):
            if lookup not in declared and view(model_admin, root, {lookup: "1"}) != 400:
                offenders.append(f"{path}?{lookup}")
    assert offenders == []


def test_onlooker_cannot_probe_secrets(db: None) -> None:
    onlooker = hire("onlooker", "view_credential")
    client = sign_in_to_admin(onlooker)
    for query in (
        "digest__regex=(a%2B)%2B$",
        "secret__startswith=a",
        "user__password__startswith=a",
        "_to_field=digest",
    ):
        response = client.get(f"/admin/accounts/credential/?{query}")
        page = response.content.decode()
        assert (response.status_code, FRAME in page, SEARCH in page) == (400, True, True), query


@pytest.mark.usefixtures("bare_pages")
def test_junk_in_filters_never_breaks_a_list(root: User) -> None:
    statuses = set()
    for _, model_admin in lists():
        suffixes = ("", "__exact", "__gte", "__lt", "__isnull", "__isempty")
        names = [f"{column}{suffix}" for column in filtered_paths(model_admin) for suffix in suffixes]
        for name, value in itertools.product(names, JUNK):
            statuses.add(view(model_admin, root, {name: value}))
    assert statuses == {200, 302, 400}


def test_declared_filters_still_filter(as_root: Client) -> None:
    registration.register("dora", PASSWORD)
    page = as_root.get("/admin/accounts/user/?is_staff__exact=1&date_joined__gte=2020-01-01+00:00:00%2B00:00")
    assert [user.username for user in page.context["cl"].result_list] == ["root"]
    assert "dora" in as_root.get("/admin/accounts/user/?is_staff__exact=0&_facets=True").content.decode()


def test_search_takes_32_words(as_root: Client) -> None:
    for path, model_admin in lists():
        if model_admin.search_fields:
            assert as_root.get(path, {"q": "a " * 32}).status_code == 200, path
            assert "Search for at most 32 words." in as_root.get(path, {"q": "a " * 2000}).content.decode(), path


def test_odd_selection_is_refused_in_words(as_root: Client) -> None:
    for key in ("junk", "9" * 40, "-" * 9, ""):
        data = {"action": "revoke", "_selected_action": key}
        response = as_root.post("/admin/accounts/credential/", data, follow=True)
        assert response.status_code == 200, key
        assert "select the rows again" in response.content.decode(), key


def test_odd_key_in_a_form_is_refused(as_root: Client, root: User) -> None:
    fields = (
        ("auth/group/add/", "permissions"),
        (f"accounts/user/{root.pk}/change/", "groups"),
        (f"accounts/user/{root.pk}/change/", "role_grants-0-user"),
    )
    for path, field in fields:
        for key in ("junk", "9" * 40, "1.5"):
            response = as_root.post(f"/admin/{path}", {"name": "x", field: key}, follow=True)
            assert response.status_code == 200, path
            assert "select the rows again" in response.content.decode(), path


def test_form_ignores_the_query(as_root: Client) -> None:
    for query in ("until=junk", "user=junk", "reason=spam"):
        page = as_root.get(f"/admin/accounts/ban/add/?{query}")
        assert (page.status_code, "spam" in page.content.decode()) == (200, False), query


def test_autocomplete_refuses_what_no_form_offers(as_root: Client) -> None:
    ban = {"app_label": "accounts", "model_name": "ban", "field_name": "user"}
    assert [user["text"] for user in as_root.get("/admin/autocomplete/", ban).json()["results"]] == ["root"]
    for field in ("credentials", "bans", "password", "groups", "junk"):
        query = {"app_label": "accounts", "model_name": "user", "field_name": field}
        assert as_root.get("/admin/autocomplete/", query).status_code == 403, field
    assert as_root.get("/admin/autocomplete/", {**ban, "term": "a " * 2000}).status_code == 400


def test_list_writes_moments_as_pages_do(as_root: Client, root: User) -> None:
    page = as_root.get("/admin/accounts/user/").content.decode()
    assert (f">{root.date_joined:%Y-%m-%d %H:%M}</td>" in page, "All times are in UTC." in page) == (True, True)

"""Object pages of the admin site: how staff come to them, who may see them, and what they make of any text."""

import pytest
from django.test import Client

from accounts import bans
from accounts.models import User
from registry_site.admin.object_pages import Link, as_html
from tests.support.admin import FormFields, hire, sign_in_to_admin


def user_page(user: User) -> str:
    return f"/admin/accounts/user/{user.pk}/"


def test_lists_and_events_lead_to_the_page(as_root: Client, alice: User, root: User) -> None:
    bans.ban(alice, actor=root)
    for path in ("/admin/accounts/user/", "/admin/registry_site/auditevent/"):
        assert f'href="{user_page(alice)}"' in as_root.get(path).content.decode(), path


def test_saved_form_leads_to_the_page(as_root: Client, alice: User) -> None:
    form = f"{user_page(alice)}change/"
    fields = FormFields(as_root.get(form).content.decode()).values | {"email": "alice@example.com"}
    response = as_root.post(form, fields)
    assert (response.status_code, response["Location"]) == (302, user_page(alice))


@pytest.mark.parametrize("key", ["999999", "junk", "9" * 40, "-1"])
def test_missing_row_gets_a_page_of_its_own(as_root: Client, key: str) -> None:
    response = as_root.get(f"/admin/accounts/user/{key}/")
    page = response.content.decode()
    assert (response.status_code, 'id="site-name"' in page, "There is no user" in page) == (404, True, True)


def test_page_needs_the_right_to_view(alice: User) -> None:
    onlooker = hire("onlooker")
    assert sign_in_to_admin(onlooker).get(user_page(alice)).status_code == 403


def test_page_shows_no_part_without_its_right(alice: User) -> None:
    onlooker = hire("onlooker", "view_user", "view_ban")
    page = sign_in_to_admin(onlooker).get(user_page(alice)).content.decode()
    panels = ("bans", "tokens", "sessions", "failed-log-ins", "recent-events")
    assert [name for name in panels if f'id="{name}"' in page] == ["bans"]


def test_texts_of_people_are_escaped_and_cut() -> None:
    assert as_html("<script>") == "&lt;script&gt;"
    assert as_html(Link("<b>", "/?a=1&b=2")) == '<a href="/?a=1&amp;b=2">&lt;b&gt;</a>'
    assert as_html("x" * 10_000) == "x" * 199 + "…"

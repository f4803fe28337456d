"""What the pages of other sites may bring about here, by the headers that the browser sends."""

from typing import Any

import pytest
from django.http import HttpRequest
from django.test import RequestFactory

from accounts.cross_site import REFUSAL, is_same_origin, require_same_origin, require_top_level_navigation
from registry_site.errors import PermissionDenied

pytestmark = pytest.mark.database_independent

HERE = "http://testserver"
EVIL = "https://evil.example.com"


def asking(**headers: str) -> HttpRequest:
    return RequestFactory().get("/replace_token", headers={k.replace("_", "-"): v for k, v in headers.items()})


ASKED_HERE: list[dict[str, str]] = [
    {},  # no browser
    {"Origin": HERE},
    {"Sec_Fetch_Site": "same-origin"},
    {"Sec_Fetch_Site": "none"},  # typed into the address bar
    {"Referer": HERE},
    {"Referer": f"{HERE}/me?x=1#top"},
    {"Origin": HERE, "Sec_Fetch_Site": "same-origin", "Referer": f"{HERE}/me"},
    {"Sec_Fetch_Site": "same-origin", "Referer": f"{EVIL}/"},  # what the browser says itself comes first
    {"Sec_Fetch_Site": "none", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"},
]
ASKED_ELSEWHERE: list[dict[str, str]] = [
    {"Origin": EVIL},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "http://testserver:8080"},
    {"Origin": "https://testserver"},
    {"Origin": "http://testserver.evil.example.com"},
    {"Origin": f"{HERE}/"},
    {"Sec_Fetch_Site": "cross-site"},
    {"Sec_Fetch_Site": "same-site"},
    {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"},
    {"Sec_Fetch_Site": "cross-site", "Referer": f"{HERE}/me"},
    {"Origin": EVIL, "Sec_Fetch_Site": "same-origin"},
    {"Origin": "null", "Referer": f"{HERE}/me"},
    {"Referer": EVIL},
    {"Referer": f"{EVIL}/?{HERE}"},
    {"Referer": f"http://testserver@{EVIL.removeprefix('https://')}/"},
    {"Referer": "http://testserver.evil.example.com/"},
    {"Referer": "https://testserver/"},
    {"Referer": "http://testserver:8080/"},
    {"Referer": "about:client"},
    {"Referer": "nonsense"},
    {"Referer": ""},
    {"Referer": "http://[nonsense"},
    {"Referer": "http://[::1"},
    {"Origin": "http://[nonsense"},
]


@pytest.mark.parametrize("headers", ASKED_HERE, ids=str)
def test_user_and_own_pages_may_ask(headers: dict[str, str]) -> None:
    assert is_same_origin(asking(**headers)) is True
    require_same_origin(asking(**headers))


@pytest.mark.parametrize("headers", ASKED_ELSEWHERE, ids=str)
def test_pages_of_other_sites_may_not_ask(headers: dict[str, str]) -> None:
    assert is_same_origin(asking(**headers)) is False
    with pytest.raises(PermissionDenied) as refused:
        require_same_origin(asking(**headers))
    assert (refused.value.message, refused.value.code) == (REFUSAL, "other_site")


def test_public_address_is_here_behind_a_proxy(settings: Any) -> None:
    settings.PUBLIC_URL = "https://crates.example.com"
    assert is_same_origin(asking(Origin="https://crates.example.com"))
    assert is_same_origin(asking(Referer="https://crates.example.com/me"))
    assert not is_same_origin(asking(Origin="https://example.com"))


@pytest.mark.parametrize("header", ["Origin", "Referer"])
def test_page_without_tls_is_not_here_where_the_public_address_has_it(settings: Any, header: str) -> None:
    settings.PUBLIC_URL = "https://testserver"
    assert not is_same_origin(asking(**{header: HERE}))


# --- What shows a secret -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("site", ["", "same-origin", "none"])
@pytest.mark.parametrize("mode", ["", "navigate", "cors", "no-cors", "same-origin"])
@pytest.mark.parametrize("goal", ["", "document", "iframe", "image", "empty"])
def test_user_and_own_pages_may_read(site: str, mode: str, goal: str) -> None:
    require_top_level_navigation(asking(Sec_Fetch_Site=site, Sec_Fetch_Mode=mode, Sec_Fetch_Dest=goal))


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_other_site_may_send_a_visitor_to_read(site: str) -> None:
    require_top_level_navigation(asking(Sec_Fetch_Site=site, Sec_Fetch_Mode="navigate", Sec_Fetch_Dest="document"))


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize(
    ("mode", "goal"),
    [
        ("navigate", "iframe"),
        ("navigate", "frame"),
        ("navigate", "embed"),
        ("navigate", "object"),
        ("navigate", "empty"),
        ("navigate", ""),
        ("", "document"),
        ("cors", "document"),
        ("cors", "empty"),
        ("no-cors", "script"),
        ("no-cors", "image"),
        ("websocket", "websocket"),
        ("", ""),
    ],
)
def test_other_site_may_not_frame_or_fetch_a_secret(site: str, mode: str, goal: str) -> None:
    with pytest.raises(PermissionDenied) as refused:
        require_top_level_navigation(asking(Sec_Fetch_Site=site, Sec_Fetch_Mode=mode, Sec_Fetch_Dest=goal))
    assert (refused.value.message, refused.value.code) == (REFUSAL, "other_site")


def test_client_that_is_no_browser_may_read() -> None:
    require_top_level_navigation(asking())

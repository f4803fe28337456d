"""Protection against pages of other sites, by the headers that browsers send."""

from typing import Any

import pytest
from django.http import HttpRequest
from django.test import RequestFactory

from accounts.cross_site import REFUSAL, is_same_origin, require_same_origin, require_top_level_navigation
from registry_site.errors import PermissionDenied

pytestmark = pytest.mark.database_independent

OWN_ORIGIN = "http://testserver"
EVIL = "https://evil.example.com"


def make_request(**headers: str) -> HttpRequest:
    return RequestFactory().get("/replace_token", headers={k.replace("_", "-"): v for k, v in headers.items()})


SAME_ORIGIN: list[dict[str, str]] = [
    {},  # no browser
    {"Origin": OWN_ORIGIN},
    {"Sec_Fetch_Site": "same-origin"},
    {"Sec_Fetch_Site": "none"},  # typed into the address bar
    {"Referer": OWN_ORIGIN},
    {"Referer": f"{OWN_ORIGIN}/me?x=1#top"},
    {"Origin": OWN_ORIGIN, "Sec_Fetch_Site": "same-origin", "Referer": f"{OWN_ORIGIN}/me"},
    {"Sec_Fetch_Site": "same-origin", "Referer": f"{EVIL}/"},  # what the browser says itself comes first
    {"Sec_Fetch_Site": "none", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"},
]
OTHER_ORIGIN: list[dict[str, str]] = [
    {"Origin": EVIL},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "http://testserver:8080"},
    {"Origin": "https://testserver"},
    {"Origin": "http://testserver.evil.example.com"},
    {"Sec_Fetch_Site": "cross-site"},
    {"Sec_Fetch_Site": "same-site"},
    {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"},
    {"Sec_Fetch_Site": "cross-site", "Referer": f"{OWN_ORIGIN}/me"},
    {"Origin": EVIL, "Sec_Fetch_Site": "same-origin"},
    {"Origin": "null", "Referer": f"{OWN_ORIGIN}/me"},
    {"Referer": EVIL},
    {"Referer": f"{EVIL}/?{OWN_ORIGIN}"},
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


def test_user_and_own_pages_have_the_same_origin() -> None:
    for headers in SAME_ORIGIN:
        assert is_same_origin(make_request(**headers)) is True, headers
        require_same_origin(make_request(**headers))


def test_pages_of_other_sites_are_refused() -> None:
    assert [headers for headers in OTHER_ORIGIN if is_same_origin(make_request(**headers))] == []
    for headers in OTHER_ORIGIN:
        with pytest.raises(PermissionDenied) as refusal:
            require_same_origin(make_request(**headers))
        assert (refusal.value.message, refusal.value.code) == (REFUSAL, "other_site")


def test_public_url_is_own_behind_a_proxy(settings: Any) -> None:
    settings.PUBLIC_URL = "https://crates.example.com"
    assert is_same_origin(make_request(Origin="https://crates.example.com"))
    assert is_same_origin(make_request(Referer="https://crates.example.com/me"))
    assert not is_same_origin(make_request(Origin="https://example.com"))


def test_other_names_with_tls_are_own(settings: Any) -> None:
    settings.PUBLIC_URL = "https://crates.example.com"
    settings.ALSO_KNOWN_AS = ["https://crates", "http://10.0.0.1"]
    origins = ("https://crates.example.com", "https://crates", "http://10.0.0.1", "https://crates.evil.example")
    assert [is_same_origin(make_request(Origin=origin)) for origin in origins] == [True, True, False, False]


def test_port_of_the_scheme_does_not_matter(settings: Any) -> None:
    settings.PUBLIC_URL = "https://crates.example.com"
    assert is_same_origin(make_request(Origin="https://crates.example.com:443"))
    assert is_same_origin(make_request(Referer="https://crates.example.com:443/me"))
    assert not is_same_origin(make_request(Origin="https://crates.example.com:80"))


@pytest.mark.parametrize("header", ["Origin", "Referer"])
def test_page_without_tls_is_foreign_behind_tls(settings: Any, header: str) -> None:
    settings.PUBLIC_URL = "https://testserver"
    assert not is_same_origin(make_request(**{header: OWN_ORIGIN}))


# --- Views with a secret -----------------------------------------------------------------------------------------


def fetch(site: str, mode: str, destination: str) -> HttpRequest:
    return make_request(Sec_Fetch_Site=site, Sec_Fetch_Mode=mode, Sec_Fetch_Dest=destination)


@pytest.mark.parametrize("site", ["", "same-origin", "none"])
def test_user_and_own_pages_read_secrets(site: str) -> None:
    for mode in ("", "navigate", "cors", "no-cors", "same-origin"):
        for destination in ("", "document", "iframe", "image", "empty"):
            require_top_level_navigation(fetch(site, mode, destination))


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_other_site_can_link_to_a_secret(site: str) -> None:
    require_top_level_navigation(fetch(site, "navigate", "document"))


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_other_site_cannot_frame_or_fetch_a_secret(site: str) -> None:
    for mode, destination in (
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
    ):
        with pytest.raises(PermissionDenied) as refusal:
            require_top_level_navigation(fetch(site, mode, destination))
        assert (refusal.value.message, refusal.value.code) == (REFUSAL, "other_site")


def test_client_without_fetch_metadata_reads_secrets() -> None:
    require_top_level_navigation(make_request())

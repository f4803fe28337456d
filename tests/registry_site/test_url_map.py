"""The URL map, read off the resolver: reserved names and the dialect of each prefix."""

from accounts import names
from registry_site.http import error_handlers, url_map
from registry_site.http.dialects import Backups, Cargo, Outernet, Torrust, Yapkg, dialect_of

DIALECT_BY_PREFIX = {
    "/api/v1": Cargo,
    "/index": Cargo,
    "/index.git": Cargo,
    "/dl": Cargo,
    "/mirror": Cargo,
    "/openapi.json": Cargo,
    "/ktra": Cargo,
    "/me": Cargo,
    "/replace_token": Cargo,
    "/api/stable": Backups,
    "/v1": Torrust,
    "/register": Yapkg,
    "/login": Yapkg,
    "/logout": Yapkg,
    "/users": Yapkg,
    "/settings": Yapkg,
    "/namespace": Yapkg,
    "/namespaces": Yapkg,
    "/packages": Yapkg,
    "/auth": Outernet,
    "/auth_verify": Outernet,
}
FIRST_SEGMENTS = """
    account admin api auth auth_verify badge categories crates dl docs health index index.git keywords ktra login
    logout me metrics mirror namespace namespaces openapi.json openid packages password-reset people ready register
    replace_token search settings sign-in sign-out sign-up unsubscribe users v1
"""


def test_prefixes_have_the_documented_dialects() -> None:
    assert error_handlers.dialect_by_prefix() == DIALECT_BY_PREFIX


def test_paths_are_under_the_prefix_of_their_dialect() -> None:
    offenders = []
    for route, view in url_map.routes():
        path = "/" + "/".join(url_map.static_segments(route))
        expected = dialect_of(getattr(view, "cls", object))
        actual = [dialect for prefix, dialect in DIALECT_BY_PREFIX.items() if f"{path}/".startswith(f"{prefix}/")]
        if expected and path != "/" and actual != [expected]:
            offenders.append(route)
    assert offenders == []


def test_first_segments_do_not_depend_on_settings() -> None:
    """`openid` is switched off where these tests run."""
    assert sorted(url_map.first_segments()) == FIRST_SEGMENTS.split()


def test_first_segments_and_words_are_reserved() -> None:
    reserved = ("metrics", "openid", "sign-in", "sign-out", "openapi.json", "METRICS", "support", "Index.git")
    assert [name for name in reserved if not names.is_reserved(name)] == []


def test_words_of_ambiguous_paths_are_reserved() -> None:
    """`DELETE v1/user/ban/change-password` reaches the change of the password of a user `ban`."""
    assert url_map.ambiguous_segments() == {"ban", "change-password", "new"}
    assert all(names.is_reserved(name) for name in ("ban", "Change-Password"))


def test_other_names_are_not_reserved() -> None:
    assert not any(names.is_reserved(name) for name in ("alice", "metric", "sign", "openapi", "config.json", ""))

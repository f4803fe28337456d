"""Static files: names with a digest that browsers keep for a year, and plain names that they ask for again."""

import pytest
from django.contrib.staticfiles.storage import staticfiles_storage
from django.test import Client

from registry_site.http.static_files import StaticFilesMiddleware

pytestmark = [pytest.mark.database_independent]

FILES = ("registry_site/page.css", "admin/css/base.css", "drf_spectacular_sidecar/swagger-ui-dist/swagger-ui.css")


def lifetime(client: Client, url: str) -> tuple[int, str]:
    response = client.get(url)
    list(response)
    return response.status_code, response.get("Cache-Control", "")


def test_names_with_digest_are_kept(client: Client, db: None) -> None:
    for name in FILES:
        url = staticfiles_storage.url(name)
        assert url != f"/static/{name}"
        assert lifetime(client, url) == (200, "max-age=31536000, public, immutable"), name
        assert lifetime(client, f"/static/{name}") == (200, "max-age=60, public"), name


def test_wrong_digest_is_no_file(client: Client, db: None) -> None:
    assert lifetime(client, "/static/registry_site/page.0123456789ab.css")[0] == 404


def test_servers_know_both_names_at_once(db: None) -> None:
    """Without the lookups that tests use instead of a list of all files."""
    middleware = StaticFilesMiddleware(lambda request: None)
    middleware.autorefresh = False
    middleware.add_files_from_finders()
    for name in FILES:
        assert {f"/static/{name}", staticfiles_storage.url(name)} <= set(middleware.files), name

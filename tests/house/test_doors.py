"""Every door has a rule of its own, and a refusal at it is in the dialect of its clients."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from registry_site.http.permissions import DenyAll


def views(resolver: URLResolver | None = None, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Each path of the map with its DRF class, where it has one."""
    for entry in (resolver or get_resolver()).url_patterns:
        path = prefix + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from views(entry, path)
        elif isinstance(entry, URLPattern):
            yield path, getattr(entry.callback, "cls", None)


DRF = [(path, cls) for path, cls in views() if cls is not None]


@pytest.mark.parametrize(("path", "cls"), DRF, ids=[path for path, _ in DRF])
def test_every_api_view_states_its_rule(path: str, cls: Any) -> None:
    assert cls.permission_classes
    assert DenyAll not in cls.permission_classes


@pytest.mark.parametrize("path", ["/api/v1/nothing", "/index/no/th/nothing", "/dl/x/1/download", "/ktra/x", "/me/x"])
def test_unknown_paths_are_told_in_cargos_shape(path: str, db: None) -> None:
    response = Client().get(path)
    assert response.status_code == 404
    assert [set(error) for error in response.json()["errors"]] == [{"detail"}]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/v1/crates/new"),
        ("POST", "/api/v1/crates"),
        ("GET", "/api/v1/crates/x/1.0.0/yank"),
        ("DELETE", "/index/config.json"),
        ("PUT", "/dl/x/1.0.0/download"),
        ("GET", "/ktra/api/v1/login/x"),
        ("TRACE", "/api/v1/crates/new"),
    ],
)
def test_wrong_methods_are_told_in_cargos_shape(method: str, path: str, db: None) -> None:
    response = Client().generic(method, path)
    assert response.status_code in (401, 405)
    assert [set(error) for error in response.json()["errors"]] == [{"detail"}]

"""Views of the API state their permissions, and refuse in the shape of their dialect; every template compiles."""

import pytest
from django.template import TemplateSyntaxError
from django.template.loader import get_template
from django.test import Client
from django.urls import get_resolver

from registry_site.http.permissions import DenyAll
from tests.house.access_table import api_views
from tests.house.source_code import ROOT


def test_every_view_states_its_permissions() -> None:
    views = dict(api_views(get_resolver()))
    assert len(views) > 50
    assert [path for path, view in views.items() if not view.permission_classes] == []
    assert [path for path, view in views.items() if DenyAll in view.permission_classes] == []


def test_every_template_compiles() -> None:
    templates = ROOT / "templates"
    broken = {}
    for path in templates.rglob("*.*"):
        name = str(path.relative_to(templates))
        try:
            get_template(name)
        except TemplateSyntaxError as error:
            broken[name] = str(error)
    assert broken == {}


def test_unknown_paths_are_refused_in_cargos_shape(db: None) -> None:
    for path in ("/api/v1/nothing", "/index/no/th/nothing", "/dl/x/1/download", "/ktra/x", "/me/x"):
        response = Client().get(path)
        assert (path, response.status_code) == (path, 404)
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
def test_wrong_methods_are_refused_in_cargos_shape(method: str, path: str, db: None) -> None:
    response = Client().generic(method, path)
    assert response.status_code in (401, 405)
    assert [set(error) for error in response.json()["errors"]] == [{"detail"}]

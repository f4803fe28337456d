"""Dialects: headers and failures that do not depend on one endpoint."""

import pytest
from django.test import Client
from rest_framework import serializers

from registry_site import errors
from registry_site.http.dialects import STATUSES, Cargo, Yapkg, dialect_of, sentence_of, status_of


@pytest.mark.django_db
def test_responses_of_yapkg_are_for_one_user() -> None:
    for url, status in (("/packages?query=a", 200), ("/users/nobody", 404), ("/settings/appids", 401)):
        response = Client().get(url)
        assert (url, response.status_code) == (url, status)
        assert {"Cookie", "Token", "X-Auth-Token"} <= set(response["Vary"].split(", "))
        assert "private" in response["Cache-Control"]


def test_error_has_the_status_of_its_nearest_class() -> None:
    expected = {
        errors.Invalid("x"): 400,
        errors.Malformed("x"): 400,
        errors.TooLarge("x"): 413,
        errors.WrongPassword("x"): 401,
        errors.PermissionDenied("x"): 403,
        errors.NotFound("x"): 404,
        errors.Gone("x"): 410,
        errors.UnavailableForLegalReasons("x"): 451,
        errors.Conflict("x"): 409,
        errors.TooManyRequests("x", 1): 429,
        errors.Unavailable("x"): 503,
        errors.UpstreamError("x"): 502,
    }
    assert {error: status_of(error) for error in expected} == expected
    assert status_of(errors.Malformed("x"), {**STATUSES, errors.Malformed: 422}) == 422


def test_dialect_of_a_view_is_its_base() -> None:
    class Base(Cargo):
        pass

    class View(Base):
        pass

    assert [dialect_of(view) for view in (View, Cargo, Yapkg, object)] == [Cargo, Cargo, Yapkg, None]


def test_detail_becomes_one_sentence() -> None:
    detail = serializers.ValidationError({"name": ["is bad.", "is long."], "non_field_errors": ["They differ."]}).detail
    assert sentence_of(detail) == "name: is bad. is long. They differ."
    assert sentence_of({"detail": "No."}) == "No."

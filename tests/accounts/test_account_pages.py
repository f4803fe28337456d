"""`/account` and beneath: one's own pages."""

import pytest
from django.test import Client

from tests.support.browser import Browser

PAGE = {"Accept": "text/html"}


@pytest.mark.django_db
def test_visitor_signs_in_and_comes_back() -> None:
    response = Client().get("/account?a=1&b=2", headers=PAGE)
    assert (response.status_code, response["Location"]) == (302, "/sign-in?next=%2Faccount%3Fa%3D1%26b%3D2")


@pytest.mark.django_db
def test_program_is_refused_without_a_session() -> None:
    response = Client().get("/account")
    assert (response.status_code, response.json()["error"]) == (401, "unauthenticated")


def test_profile_names_its_account(browser: Browser) -> None:
    page = browser.get("/account", headers=PAGE)
    assert page.status_code == 200
    assert "You are signed in as <strong>ktra-secure-auth:alice</strong>." in page.content.decode()

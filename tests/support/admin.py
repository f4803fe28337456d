"""The admin site as staff use it: sign in, run an action, fill in the form of a new user."""

from typing import Any

from django.test import Client

from accounts.models import User
from tests.support.cast import PASSWORD


def sign_in_to_admin(user: User) -> Client:
    client = Client()
    assert client.login(username=user.username, password=PASSWORD)
    return client


def run_action(client: Client, path: str, action: str, *rows: Any) -> str:
    """Run an action on rows and return the page with its message."""
    response = client.post(path, {"action": action, "_selected_action": [row.pk for row in rows]}, follow=True)
    assert response.status_code == 200
    return response.content.decode()


# What the form of a user sends for its empty tables.
EMPTY_INLINES = {
    f"{table}-{key}": "0" for table in ("role_grants", "identities") for key in ("TOTAL_FORMS", "INITIAL_FORMS")
}


def new_user_form(**changes: str) -> dict[str, str]:
    return {"username": "dora", "email": "", "password1": PASSWORD, "password2": PASSWORD, **EMPTY_INLINES, **changes}

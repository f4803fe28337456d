"""The admin site as staff use it: sign in, run an action, fill in the form of a new user."""

from html.parser import HTMLParser
from typing import Any

from django.contrib.auth.models import Permission
from django.test import Client

from accounts import registration
from accounts.models import User
from registry_site.models import StaffRun
from tests.support.cast import PASSWORD

MARK_OF_BUTTON = '<input type="submit" class="default"'  # of the form on the page of an action


def hire(name: str, *codenames: str) -> User:
    """Open an account of staff with these permissions."""
    user = registration.register(name, PASSWORD)
    User.objects.filter(pk=user.pk).update(is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    user.refresh_from_db()
    return user


def sign_in_to_admin(user: User) -> Client:
    client = Client()
    assert client.login(username=user.username, password=PASSWORD)
    return client


def open_action(client: Client, path: str, action: str, *rows: Any, **fields: str) -> str:
    """Choose an action for rows in a list, and return its page."""
    data = {"action": action, "_selected_action": [row.pk for row in rows], **fields}
    response = client.post(path, data, follow=True)
    assert response.status_code == 200
    return response.content.decode()


def run_action(client: Client, path: str, action: str, *rows: Any, **fields: str) -> str:
    """Run an action on rows, with these fields on its page; return the page of its run, or that of its refusal."""
    page = open_action(client, path, action, *rows, **fields)
    if MARK_OF_BUTTON not in page:
        return page
    response = client.post(f"{path}act/{action}/", {**FormFields(page).values, **fields}, follow=True)
    assert response.status_code in (200, 400)
    return response.content.decode()


def undo_url(client: Client, run: StaffRun) -> str:
    """Return where the page of a run leads to undo it."""
    return str(client.get(f"/admin/registry_site/staffrun/{run.pk}/").context["undo_url"])


def undo_run(client: Client, run: StaffRun | None = None) -> str:
    """Undo a run, or the last one; return the page of the run that does it, or that of its refusal."""
    url = undo_url(client, run or StaffRun.objects.latest("started_at"))
    response = client.post(url, FormFields(client.get(url).content.decode()).values, follow=True)
    assert response.status_code in (200, 400)
    return response.content.decode()


# What the form of a user sends for its empty tables.
INLINES = ("role_grants",)
EMPTY_INLINES = {f"{table}-{key}": "0" for table in INLINES for key in ("TOTAL_FORMS", "INITIAL_FORMS")}


def new_user_form(**changes: str) -> dict[str, str]:
    return {"username": "dora", "email": "", "password1": PASSWORD, "password2": PASSWORD, **EMPTY_INLINES, **changes}


class FormFields(HTMLParser):
    """The fields of a page's forms with their values, as a browser would send them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.values: dict[str, str] = {}
        self._open = ""  # the name of the select or the text area that is being read
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        name, value = attributes.get("name") or "", attributes.get("value") or ""
        if tag in ("select", "textarea"):
            self._open = name
        elif tag == "option" and "selected" in attributes:
            self.values[self._open] = value
        elif tag == "input" and name and "__prefix__" not in name:
            kind = attributes.get("type")
            if kind not in ("submit", "file") and (kind not in ("checkbox", "radio") or "checked" in attributes):
                self.values[name] = value

    def handle_endtag(self, tag: str) -> None:
        if tag in ("select", "textarea"):
            self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open and self.lasttag == "textarea":
            self.values[self._open] = data.removeprefix("\n").removeprefix("\r\n")

"""The admin site of files: lists, keys, clients, sessions and files, with and without rights."""

import html
import re
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Permission
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.db.models import QuerySet
from django.test import Client as Browser

from accounts import registration
from accounts.models import Credential, User
from files import catalogue, clients
from files.actors import Actor
from files.models import Client, ClientKey, File, Session
from registry_site.models import AuditEvent
from tests.support.admin import FormFields, run_action, sign_in_to_admin
from tests.support.authenticator_apps import add_app
from tests.support.cast import PASSWORD
from tests.support.file_clients import KEY, FileClient

CLIENTS, SESSIONS, FILES, EVENTS = (
    f"/admin/{model}/" for model in ("files/client", "files/session", "files/file", "registry_site/auditevent")
)
LISTS = [CLIENTS, SESSIONS, FILES, EVENTS]


def staff(name: str, *rights: str) -> Browser:
    user = registration.register(name, PASSWORD)
    user.is_staff = True
    user.save()
    user.user_permissions.set(
        Permission.objects.filter(content_type__app_label__in=["files", "registry_site"], codename__in=rights)
    )
    assert user.user_permissions.count() == len(rights)
    return sign_in_to_admin(user)


@pytest.fixture
def as_viewer(db: None) -> Browser:
    """A member of staff who may see everything and change nothing."""
    return staff("viewer", "view_client", "view_clientkey", "view_session", "view_file", "view_auditevent")


@pytest.fixture
def weather(file_root: Path) -> str:
    """The path of a file on the server's disk."""
    path = file_root / "weather.txt"
    path.write_text("rain")
    return str(path)


@pytest.fixture
def weather_file(weather: str, db: None) -> File:
    """The registered file."""
    return catalogue.add_file(Actor("test"), serve_path="weather.txt", path=weather)


def file_events() -> QuerySet[AuditEvent]:
    return AuditEvent.objects.filter(object_type__startswith="files.").order_by("pk")


def last() -> tuple[str, str, str, dict[str, Any]]:
    event = file_events().last()
    assert event is not None
    return str(event.actor), event.action, event.target, event.detail


# --- Lists -------------------------------------------------------------------------------------------------------


SEARCHES = [
    (CLIENTS, "bo", "box"),
    (CLIENTS, "reader", "reader"),
    (SESSIONS, "box", "box"),
    (FILES, "weather", "weather.txt"),
    (FILES, "{root}/", "weather.txt"),
    (EVENTS, "weather", "weather.txt"),
    (EVENTS, "test", "client.add"),
]


def test_lists_are_searched(
    as_root: Browser, as_box: FileClient, reader: Client, weather_file: File, file_root: Path
) -> None:
    for path, query, row in SEARCHES:
        page = as_root.get(path, {"q": query.format(root=file_root)}).content.decode()
        results = re.search('id="result_list".*</table>', page, re.DOTALL)
        assert results
        assert row in results[0]
        assert 'id="result_list"' not in as_root.get(path, {"q": "nothing-of-this"}).content.decode()


def test_lists_are_filtered(as_root: Browser, as_box: FileClient, weather_file: File) -> None:
    for url in (
        f"{CLIENTS}?is_active__exact=1&rights__exact=WRITE",
        f"{SESSIONS}?ended_at__isempty=1",
        f"{FILES}?alive__exact=1&aired__exact=0",
        f"{EVENTS}?action__exact=file.add",
    ):
        assert 'id="result_list"' in as_root.get(url).content.decode()


@pytest.mark.parametrize("path", LISTS)
def test_queries_do_not_grow_with_rows(
    as_root: Browser, file_root: Path, path: str, django_assert_max_num_queries: Any
) -> None:
    def fill(name: str) -> None:
        client = clients.add_client(name, KEY, actor="test")
        FileClient(name, KEY).log_in()
        (file_root / name).write_text(name)
        catalogue.add_file(Actor(client.name), serve_path=name, path=f"{file_root}/{name}")

    for number in range(3):
        fill(f"box{number}")
    with django_assert_max_num_queries(30) as few:
        as_root.get(path)
    limit = len(few)
    for number in range(3, 30):
        fill(f"box{number}")
    with django_assert_max_num_queries(limit):
        page = as_root.get(path).content.decode()
    assert "box29" in page


def test_lists_need_staff_with_rights(client: Browser, db: None) -> None:
    helper = staff("helper")
    for path in LISTS:
        assert client.get(path)["Location"].startswith("/admin/login/")
        assert helper.get(path).status_code == 403


def test_session_of_a_client_opens_no_admin_page(as_box: FileClient) -> None:
    assert as_box.send("GET", CLIENTS).status_code == 302


def test_rows_cannot_be_deleted(as_root: Browser, as_box: FileClient, weather_file: File) -> None:
    for path, model in zip(LISTS, (Client, Session, File, AuditEvent), strict=True):
        pk = model._default_manager.values_list("pk", flat=True).first()
        assert as_root.post(f"{path}{pk}/delete/", {"post": "yes"}).status_code == 403
        assert "delete_selected" not in as_root.get(path).content.decode()


def test_sessions_and_events_are_read_only(as_root: Browser, as_box: FileClient) -> None:
    for path, model in ((SESSIONS, Session), (EVENTS, AuditEvent)):
        pk = model._default_manager.values_list("pk", flat=True).first()
        assert as_root.get(f"{path}{pk}/change/").status_code == 200
        assert as_root.post(f"{path}{pk}/change/", {}).status_code == 403
        assert as_root.post(f"{path}add/", {}).status_code == 403


def test_sessions_are_listed_without_their_tokens(as_root: Browser, as_box: FileClient) -> None:
    session = Session.objects.get()
    page = as_root.get(SESSIONS).content.decode() + as_root.get(f"{SESSIONS}{session.pk}/change/").content.decode()
    assert "box" in page
    assert as_box.token not in page
    assert session.digest not in page


def test_audit_log_names_actor_and_target(as_root: Browser, weather_file: File, box: Client) -> None:
    page = as_root.get(EVENTS).content.decode()
    for word in ("client.add", "weather.txt", "test", "box"):
        assert word in page


def test_texts_of_clients_are_escaped(as_root: Browser, file_root: Path) -> None:
    (file_root / "a").write_text("")
    catalogue.add_file(Actor("test"), "<script>alert(1)<", f"{file_root}/a", category="<script>alert(2)")
    for path in (FILES, EVENTS, f"{FILES}{File.objects.get().pk}/change/"):
        assert "<script>alert" not in as_root.get(path).content.decode()


# --- Keys --------------------------------------------------------------------------------------------------------


def add_client(browser: Browser, name: str = "box", **fields: str) -> Any:
    return browser.post(f"{CLIENTS}add/", {"name": name, "rights": "WRITE", **fields})


def key_on(response: Any) -> str:
    """Return the one key on a page, which no cache may store."""
    assert response.status_code == 200
    assert "no-store" in response["Cache-Control"]
    (key,) = re.findall("<code>([0-9a-f]{64})</code>", response.content.decode())
    return str(key)


def assert_not_stored(browser: Browser, key: str) -> None:
    """Check that neither the browser nor the database nor another page has a key."""
    assert not any(key in morsel.value for morsel in browser.cookies.values())
    assert key not in repr(dict(browser.session.items()))
    out = StringIO()
    call_command("dumpdata", stdout=out)
    assert key not in out.getvalue()
    pk = Client.objects.get().pk
    for path in ("/admin/", *LISTS, f"{CLIENTS}{pk}/change/", f"{CLIENTS}{pk}/history/", f"{CLIENTS}add/"):
        assert key not in browser.get(path).content.decode()


@pytest.mark.parametrize("button", ["_save", "_addanother", "_continue"])
def test_key_of_a_new_client_is_shown_once(as_root: Browser, button: str) -> None:
    key = key_on(add_client(as_root, **{button: "Save"}))
    assert FileClient("box", bytes.fromhex(key)).log_in()
    assert_not_stored(as_root, key)
    assert last() == ("root", "client.add", "box", {})


def test_new_keys_need_a_fresh_proof(as_root: Browser, root: User, box: Client) -> None:
    add_app(root)
    Credential.objects.update(proven_at=None)
    rotate = {"action": "rotate", "_selected_action": [box.pk]}
    for response in (as_root.post(CLIENTS, rotate), as_root.get(f"{CLIENTS}add/")):
        assert response["Location"].startswith("/account/confirm?next=%2Fadmin%2Ffiles%2Fclient%2F")
    assert "It is more than 15 minutes since you signed in" in add_client(as_root, "new").content.decode()
    assert not Client.objects.filter(name="new").exists()


def test_new_key_of_a_client_is_shown_once(as_root: Browser, box: Client) -> None:
    form = {"run": str(uuid4()), "pk": str(box.pk)}
    key = key_on(as_root.post(f"{CLIENTS}act/rotate/", form))
    assert FileClient("box", bytes.fromhex(key)).log_in()
    assert_not_stored(as_root, key)
    assert last() == ("root", "client.rotate", "box", {"sessions_ended": 0})


def test_keys_of_several_clients_are_shown_together(as_root: Browser, box: Client, reader: Client) -> None:
    page = run_action(as_root, CLIENTS, "rotate", box, reader)
    rows = re.findall(r"<tr><th[^>]*>(\w+)</th><td><code>([0-9a-f]{64})</code></td></tr>", page)
    for name, key in rows:
        assert FileClient(name, bytes.fromhex(key)).log_in()
    assert [name for name, _ in rows] == ["box", "reader"]


def test_page_of_a_client_shows_no_secret(as_root: Browser, as_box: FileClient, box: Client) -> None:
    page = as_root.get(f"{CLIENTS}{box.pk}/").content.decode()
    key = ClientKey.objects.get()
    assert "AES_CBC" in page
    for hidden in (KEY.hex(), KEY.decode(), key.secret, as_box.token, Session.objects.get().digest):
        assert hidden not in page


# --- Clients -----------------------------------------------------------------------------------------------------


def test_client_is_added_by_the_form(as_root: Browser, file_root: Path) -> None:
    details = {"description": "On the roof", "maintainer": "Alice", "email": "alice@example.com"}
    add_client(as_root, rights="READ", roots=f"  {file_root}/a  \r\n\r\n{file_root}/b\r\n", **details)
    client = Client.objects.get()
    assert (client.rights, client.roots, client.is_active) == ("READ", f"{file_root}/a\n{file_root}/b", True)
    assert (client.description, client.maintainer, client.email) == ("On the roof", "Alice", "alice@example.com")


def test_malformed_name_is_refused(as_root: Browser) -> None:
    for name in ("a b", "a/b", ".box", "é"):
        page = as_root.post(f"{CLIENTS}add/", {"name": name, "rights": "WRITE"}, follow=True)
        assert f"{name!r} cannot be the name of a client" in html.unescape(page.content.decode())
    assert not Client.objects.exists()


def test_malformed_field_is_refused_in_the_form(as_root: Browser, box: Client) -> None:
    malformed = {"name": ("", "box", "\0"), "rights": ("KING",), "email": ("nonsense",), "description": ("x" * 1001,)}
    for field, values in malformed.items():
        for value in values:
            page = as_root.post(f"{CLIENTS}add/", {"name": "another", "rights": "WRITE", field: value})
            assert "errorlist" in page.content.decode()
    assert Client.objects.count() == 1


def test_directory_outside_of_roots_is_refused(as_root: Browser, file_root: Path, settings: Any) -> None:
    for settings.FILE_ROOTS, roots in (([], "none"), ([str(file_root)], str(file_root))):
        page = as_root.post(f"{CLIENTS}add/", {"name": "box", "rights": "WRITE", "roots": "/etc"}, follow=True)
        message = f"'/etc' is not beneath REGISTRY_FILE_ROOTS ({roots})."
        assert message in html.unescape(page.content.decode())
    assert not Client.objects.exists()


def change_client(browser: Browser, client: Client, **fields: str) -> Any:
    path = f"{CLIENTS}{client.pk}/change/"
    return browser.post(path, {"rights": "WRITE", "description": "", **fields}, follow=True)


def test_rights_are_changed(as_root: Browser, box: Client) -> None:
    change_client(as_root, box, rights="READ")
    box.refresh_from_db()
    assert box.rights == "READ"
    assert last() == ("root", "client.change", "box", {"fields": ["rights"]})


def test_directories_are_changed(as_root: Browser, box: Client, file_root: Path) -> None:
    change_client(as_root, box, roots=f"{file_root}/a\r\n{file_root}/b")
    box.refresh_from_db()
    assert box.roots == f"{file_root}/a\n{file_root}/b"


def test_change_to_an_outside_directory_is_refused(as_root: Browser, box: Client, file_root: Path) -> None:
    page = change_client(as_root, box, roots="/etc")
    assert "'/etc' is not beneath REGISTRY_FILE_ROOTS" in html.unescape(page.content.decode())
    box.refresh_from_db()
    assert box.roots == ""


def test_form_cannot_change_name_and_activity(as_root: Browser, box: Client) -> None:
    change_client(as_root, box, name="another", is_active="")
    box.refresh_from_db()
    assert (box.name, box.is_active) == ("box", True)


def test_unchanged_client_is_not_in_the_audit_log(as_root: Browser, box: Client) -> None:
    change_client(as_root, box)
    assert last()[1] == "client.add"


def test_unchanged_directories_are_no_change(as_root: Browser, box: Client, file_root: Path) -> None:
    change_client(as_root, box, roots=f"{file_root}/a\r\n{file_root}/b")
    change_client(as_root, box, roots=f"{file_root}/a\r\n{file_root}/b", rights="READ")
    assert last() == ("root", "client.change", "box", {"fields": ["rights"]})


def test_client_with_a_removed_root_can_change(as_root: Browser, box: Client, file_root: Path, settings: Any) -> None:
    change_client(as_root, box, roots=f"{file_root}/a\r\n{file_root}/b")
    settings.FILE_ROOTS = []
    change_client(as_root, box, roots=f"{file_root}/a\r\n{file_root}/b", description="of the roof")
    box.refresh_from_db()
    assert (box.description, box.roots) == ("of the roof", f"{file_root}/a\n{file_root}/b")


def test_clients_are_disabled_and_enabled(as_root: Browser, as_box: FileClient, box: Client, reader: Client) -> None:
    clients.set_active(reader, active=False, actor="test")
    assert "1 disabled, 1 unchanged." in run_action(as_root, CLIENTS, "disable", box, reader)
    assert as_box.send("GET", "/").status_code == 401
    assert last()[:3] == ("root", "client.disable", "box")
    assert "2 enabled." in run_action(as_root, CLIENTS, "enable", box, reader)
    assert as_box.log_in()
    assert last()[:3] == ("root", "client.enable", "reader")


def test_rotation_ends_sessions(as_root: Browser, as_box: FileClient, box: Client) -> None:
    run_action(as_root, CLIENTS, "rotate", box)
    assert as_box.send("GET", "/").status_code == 401


def test_sessions_of_clients_are_ended(
    as_root: Browser, as_box: FileClient, as_reader: FileClient, box: Client
) -> None:
    assert "1 without sessions." in run_action(as_root, CLIENTS, "end_sessions", box)
    assert [machine.send("GET", "/").status_code for machine in (as_box, as_reader)] == [401, 200]
    assert last() == ("root", "client.sessions", "box", {"sessions_ended": 1})


def test_single_session_is_ended_once(as_root: Browser, as_box: FileClient) -> None:
    session = Session.objects.get()
    assert "1 ended." in run_action(as_root, SESSIONS, "end", session)
    assert as_box.send("GET", "/").status_code == 401
    assert "0 ended, 1 unchanged." in run_action(as_root, SESSIONS, "end", session)
    assert last() == ("root", "client.sessions", "box", {"session": f"{session.created_at:%Y-%m-%d %H:%M}"})
    assert AuditEvent.objects.filter(action="client.sessions").count() == 1


def test_audit_log_has_the_address_of_staff(as_root: Browser, box: Client) -> None:
    run_action(as_root, CLIENTS, "disable", box)
    assert AuditEvent.objects.get(action="client.disable").ip_address == "127.0.0.1"


# --- Rights of staff ---------------------------------------------------------------------------------------------


def test_viewer_sees_lists(as_viewer: Browser, as_box: FileClient, weather_file: File) -> None:
    assert [as_viewer.get(path).status_code for path in LISTS] == [200] * len(LISTS)


def test_viewer_cannot_run_actions(as_viewer: Browser, as_box: FileClient, box: Client) -> None:
    before = ClientKey.objects.get().secret
    for action in ("rotate", "disable", "enable", "end_sessions"):
        run_action(as_viewer, CLIENTS, action, box)
    run_action(as_viewer, SESSIONS, "end", Session.objects.get())
    assert as_box.send("GET", "/").status_code == 200
    assert (ClientKey.objects.get().secret, file_events().count()) == (before, 1)


def test_viewer_cannot_edit_clients(as_viewer: Browser, box: Client) -> None:
    assert add_client(as_viewer, "another").status_code == 403
    assert change_client(as_viewer, box, rights="READ").status_code == 403
    assert [client.rights for client in Client.objects.all()] == ["WRITE"]


def test_viewer_cannot_edit_files(as_viewer: Browser, weather_file: File, weather: str) -> None:
    assert add_file(as_viewer, serve_path="b.txt", path=weather).status_code == 403
    assert change_file(as_viewer, weather_file, serve_path="b.txt").status_code == 403
    run_action(as_viewer, FILES, "remove", weather_file)
    assert [(file.serve_path, file.alive) for file in File.objects.all()] == [("weather.txt", True)]


def test_right_to_change_sessions_ends_them(as_box: FileClient) -> None:
    browser = staff("helper", "view_session", "change_session")
    run_action(browser, SESSIONS, "end", Session.objects.get())
    assert as_box.send("GET", "/").status_code == 401


# --- Files -------------------------------------------------------------------------------------------------------


def add_file(browser: Browser, **fields: Any) -> Any:
    return browser.post(f"{FILES}add/", fields, follow=True)


def change_file(browser: Browser, file: File, **fields: Any) -> Any:
    current = {"serve_path": file.serve_path, "path": file.path, "category": file.category or ""}
    return browser.post(f"{FILES}{file.pk}/change/", {**current, **fields}, follow=True)


def upload(content: bytes) -> SimpleUploadedFile:
    return SimpleUploadedFile("weather.txt", content)


def content_of(machine: FileClient, file: File) -> bytes:
    response = machine.send("GET", f"/{file.pk}")
    assert response.status_code == 200
    return b"".join(response.streaming_content)


def test_file_is_added_by_path(as_root: Browser, as_box: FileClient, weather: str) -> None:
    add_file(as_root, serve_path="weather.txt", path=weather)
    file = File.objects.get()
    assert (file.serve_path, file.path, file.size, file.category, file.aired) == (
        "weather.txt",
        weather,
        4,
        None,
        False,
    )
    assert content_of(as_box, file) == b"rain"
    assert last() == ("root", "file.add", "weather.txt", {})


def test_file_is_added_by_upload(as_root: Browser, as_box: FileClient) -> None:
    add_file(as_root, serve_path="weather.txt", upload=upload(b"sunshine"), category="weather", aired="on")
    file = File.objects.get()
    assert (file.path, file.size, file.category, file.aired) == (f"upload:{file.sha256}", 8, "weather", True)
    assert content_of(as_box, file) == b"sunshine"
    assert last() == ("root", "file.add", "weather.txt", {})


def test_file_with_expiration_is_added(as_root: Browser, weather: str) -> None:
    add_file(as_root, serve_path="weather.txt", path=weather, expires_at_0="2999-01-01", expires_at_1="00:00:00")
    expires_at = File.objects.get().expires_at
    assert expires_at is not None
    assert expires_at.isoformat() == "2999-01-01T00:00:00+00:00"


def test_file_is_changed(as_root: Browser, weather_file: File) -> None:
    change_file(as_root, weather_file, serve_path="today.txt", category="weather", aired="on")
    file = File.objects.get()
    assert (file.serve_path, file.category, file.aired, file.path) == ("today.txt", "weather", True, weather_file.path)
    assert file.modified_at > weather_file.modified_at
    actor, action, target, detail = last()
    assert (actor, action, target) == ("root", "file.update", "today.txt")
    assert set(detail["fields"]) == {"serve_path", "category", "aired"}


def test_file_is_replaced_by_another_path(as_root: Browser, weather_file: File, file_root: Path) -> None:
    (file_root / "snow.txt").write_text("snow!")
    change_file(as_root, weather_file, path=f"{file_root}/snow.txt")
    file = File.objects.get()
    assert (file.path, file.size) == (f"{file_root}/snow.txt", 5)


def test_file_is_replaced_by_an_upload(as_root: Browser, as_box: FileClient, weather_file: File) -> None:
    change_file(as_root, weather_file, upload=upload(b"sunshine"))
    file = File.objects.get()
    assert (file.path, file.size) == (f"upload:{file.sha256}", 8)
    assert content_of(as_box, file) == b"sunshine"


def test_upload_is_replaced_by_a_path(as_root: Browser, as_box: FileClient, weather: str) -> None:
    add_file(as_root, serve_path="weather.txt", upload=upload(b"sunshine"))
    change_file(as_root, File.objects.get(), path=weather)
    file = File.objects.get()
    assert (file.path, file.size, file.sha256) == (weather, 4, "")
    assert content_of(as_box, file) == b"rain"


def test_unchanged_file_is_not_in_the_audit_log(as_root: Browser, weather_file: File) -> None:
    change_file(as_root, weather_file)
    assert (File.objects.get().modified_at, last()[1]) == (weather_file.modified_at, "file.add")


def test_category_is_removed(as_root: Browser, weather: str) -> None:
    add_file(as_root, serve_path="weather.txt", path=weather, category="weather")
    change_file(as_root, File.objects.get(), category="")
    assert File.objects.get().category is None


def test_files_are_marked_as_dead_once(as_root: Browser, weather_file: File) -> None:
    assert "1 dead." in run_action(as_root, FILES, "remove", weather_file)
    assert not File.objects.get().alive
    assert last() == ("root", "file.delete", "weather.txt", {})
    assert "0 dead, 1 unchanged." in run_action(as_root, FILES, "remove", weather_file)
    assert AuditEvent.objects.filter(action="file.delete").count() == 1


def test_dead_file_cannot_change(as_root: Browser, weather_file: File) -> None:
    run_action(as_root, FILES, "remove", weather_file)
    assert as_root.get(f"{FILES}{weather_file.pk}/change/").status_code == 200
    assert change_file(as_root, weather_file, serve_path="b.txt").status_code == 403
    assert File.objects.get().serve_path == "weather.txt"


def form_errors(response: Any) -> str:
    """Return the errors on the page of a refused form."""
    assert response.status_code == 200
    page = html.unescape(response.content.decode())
    matches = re.findall(
        r'class="(?:error|errornote)">(.*?)<|class="errorlist[^"]*"[^>]*><li>(.*?)</li>', page, re.DOTALL
    )
    return " ".join(" ".join(groups) for groups in matches)


REFUSED = [
    ({"serve_path": "../x"}, "`serve_path` must be relative, such as weather/today.txt, without empty parts"),
    ({"serve_path": "/etc/passwd"}, "`serve_path` must be relative"),
    ({"serve_path": "a\\b"}, "`serve_path` must have no backslash and no control character."),
    ({"serve_path": "x" * 2001}, "`serve_path` is longer than 2000 bytes."),
    ({"serve_path": ""}, "This field is required."),
    ({"serve_path": "a\0b"}, "Null characters are not allowed."),
    ({"serve_path": "taken.txt"}, "File at serve_path taken.txt already exists."),
    ({"path": "/etc/passwd"}, "/etc/passwd does not fall under {root} hierarchy."),
    ({"path": "{root}/none.txt"}, "No file at path {root}/none.txt"),
    ({"path": "{root}"}, "{root} does not fall under {root} hierarchy."),
    ({"path": "{root}/../x"}, "{root}/../x does not fall under {root} hierarchy."),
    ({"path": "a\0b"}, "Null characters are not allowed."),
    ({"category": "x" * 201}, "Ensure this value has at most 200 characters (it has 201)."),
    ({"expires_at_0": "tomorrow", "expires_at_1": "00:00:00"}, "Enter a valid date."),
    ({"upload": "a file", "path": "{weather}"}, ""),
]  # fmt: skip


@pytest.fixture
def taken(weather: str, db: None) -> File:
    """The live file at taken.txt."""
    return catalogue.add_file(Actor("test"), serve_path="taken.txt", path=weather)


def fill_in(template: dict[str, str], file_root: Path, weather: str) -> dict[str, Any]:
    fields: dict[str, Any] = {name: value.format(root=file_root, weather=weather) for name, value in template.items()}
    return {**fields, "upload": upload(b"sunshine")} if "upload" in fields else fields


def test_refused_file_is_not_added(as_root: Browser, taken: File, file_root: Path, weather: str) -> None:
    missing = []
    for template, reason in REFUSED:
        fields = fill_in(template, file_root, weather)
        response = add_file(as_root, **{"serve_path": "new.txt", "path": weather, **fields})
        expected = reason.format(root=file_root) or "Give a path on the disk of the server, or a file to upload."
        if expected not in form_errors(response):
            missing.append((template, expected))
    assert missing == []
    assert File.objects.get() == taken
    assert file_events().count() == 1


def test_refused_file_stays_in_the_form(as_root: Browser, taken: File, weather: str) -> None:
    typed = {"serve_path": "taken.txt", "path": weather, "category": "forecasts"}
    form = FormFields(add_file(as_root, **typed).content.decode()).values
    assert {name: form[name] for name in typed} == typed


def test_refused_change_is_not_made(
    as_root: Browser, taken: File, file_root: Path, weather_file: File, weather: str
) -> None:
    (file_root / "other.txt").write_text("other")
    before = File.objects.filter(pk=weather_file.pk).values().get()
    missing = []
    for template, reason in REFUSED:
        response = change_file(as_root, weather_file, **fill_in(template, file_root, f"{file_root}/other.txt"))
        both = "Give `path`, of a file on the disk of the server, or upload a `file`"
        expected = reason.format(root=file_root) or both
        if expected not in form_errors(response):
            missing.append((template, expected))
    assert missing == []
    assert File.objects.filter(pk=weather_file.pk).values().get() == before
    assert file_events().count() == 2


def test_file_needs_a_path_or_an_upload(as_root: Browser) -> None:
    response = add_file(as_root, serve_path="new.txt")
    assert "Give a path on the disk of the server, or a file to upload." in form_errors(response)


def test_path_cannot_be_emptied(as_root: Browser, weather_file: File) -> None:
    assert "`path` must be specified" in form_errors(change_file(as_root, weather_file, path=""))
    assert File.objects.get().path == weather_file.path


def test_path_needs_configured_roots(as_root: Browser, settings: Any) -> None:
    settings.FILE_ROOTS = []
    assert (
        "This registry has no directories to register files from (REGISTRY_FILE_ROOTS); upload the file instead."
    ) in form_errors(add_file(as_root, serve_path="new.txt", path="/srv/new.txt"))
    assert not File.objects.exists()


def test_refused_path_is_reported_once(as_root: Browser, file_root: Path) -> None:
    reasons = form_errors(add_file(as_root, serve_path="new.txt", path=f"{file_root}/none.txt"))
    assert "No file at path" in reasons
    assert "Give a path" not in reasons


def test_upload_over_a_megabyte_is_added(as_root: Browser) -> None:
    add_file(as_root, serve_path="new.txt", upload=upload(b"x" * 3 * 1024 * 1024))
    assert File.objects.get().size == 3 * 1024 * 1024


def test_too_large_upload_is_refused(as_root: Browser, settings: Any) -> None:
    settings.MAX_FILE_SIZE = 7
    response = add_file(as_root, serve_path="new.txt", upload=upload(b"sunshine"))
    assert "The file has 8 bytes; at most 7 are taken here." in form_errors(response)
    assert not File.objects.exists()

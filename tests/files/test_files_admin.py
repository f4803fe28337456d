"""The admin site of files, read and used as staff would."""

import html
import re
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.db.models import QuerySet
from django.test import Client as Browser

from accounts import registration
from accounts.models import User
from files import catalogue, clients
from files.actors import Actor
from files.models import Client, ClientKey, File, Session
from registry_site.models import AuditEvent
from tests.support.cast import PASSWORD
from tests.support.file_clients import KEY, FileClient

CLIENTS, SESSIONS, FILES, EVENTS = (
    f"/admin/{model}/" for model in ("files/client", "files/session", "files/file", "registry_site/auditevent")
)
LISTS = [CLIENTS, SESSIONS, FILES, EVENTS]


def signed_in(user: User) -> Browser:
    browser = Browser()
    assert browser.login(username=user.username, password=PASSWORD)
    return browser


@pytest.fixture
def as_root(root: User) -> Browser:
    return signed_in(root)


def staff(name: str, *rights: str) -> Browser:
    user = registration.register(name, PASSWORD)
    user.is_staff = True
    user.save()
    user.user_permissions.set(
        Permission.objects.filter(content_type__app_label__in=["files", "registry_site"], codename__in=rights)
    )
    assert user.user_permissions.count() == len(rights)
    return signed_in(user)


@pytest.fixture
def as_viewer(db: None) -> Browser:
    """May look at everything, and do nothing."""
    return staff("viewer", "view_client", "view_clientkey", "view_session", "view_file", "view_auditevent")


@pytest.fixture
def weather(file_root: Path) -> str:
    """A file on the server's disk."""
    path = file_root / "weather.txt"
    path.write_text("rain")
    return str(path)


@pytest.fixture
def rain(weather: str, db: None) -> File:
    """It, registered."""
    return catalogue.add_file(Actor("test"), serve_path="weather.txt", path=weather)


def act(browser: Browser, path: str, action: str, *rows: Any) -> str:
    """Run an action on rows; what the page then says."""
    response = browser.post(path, {"action": action, "_selected_action": [row.pk for row in rows]}, follow=True)
    assert response.status_code == 200
    return html.unescape(response.content.decode())


def file_events() -> QuerySet[AuditEvent]:
    return AuditEvent.objects.filter(object_type__startswith="files.").order_by("pk")


def last() -> tuple[str, str, str, dict[str, Any]]:
    event = file_events().last()
    assert event is not None
    return event.actor_name, event.action, event.target, event.detail


# --- Lists -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "searched", "row"),
    [
        (CLIENTS, "bo", "box"),
        (CLIENTS, "reader", "reader"),
        (SESSIONS, "box", "box"),
        (FILES, "weather", "weather.txt"),
        (FILES, "{root}/", "weather.txt"),
        (EVENTS, "weather", "weather.txt"),
        (EVENTS, "test", "client.add"),
    ],
)
def test_lists_are_searched(
    as_root: Browser,
    as_box: FileClient,
    reader: Client,
    rain: File,
    file_root: Path,
    path: str,
    searched: str,
    row: str,
) -> None:
    found = as_root.get(path, {"q": searched.format(root=file_root)})
    results = re.search('id="result_list".*</table>', found.content.decode(), re.DOTALL)
    assert results
    assert row in results[0]
    assert 'id="result_list"' not in as_root.get(path, {"q": "nothing-of-this"}).content.decode()


@pytest.mark.parametrize(
    ("path", "filters"),
    [
        (CLIENTS, "is_active__exact=1&rights__exact=WRITE"),
        (SESSIONS, "ended_at__isempty=1"),
        (FILES, "alive__exact=1&aired__exact=0"),
        (EVENTS, "action__exact=file.add"),
    ],
)
def test_lists_are_filtered(as_root: Browser, as_box: FileClient, rain: File, path: str, filters: str) -> None:
    assert 'id="result_list"' in as_root.get(f"{path}?{filters}").content.decode()


@pytest.mark.parametrize("path", LISTS)
def test_lists_take_the_same_queries_for_a_few_rows_and_for_many(
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
    most = len(few)
    for number in range(3, 30):
        fill(f"box{number}")
    with django_assert_max_num_queries(most):
        page = as_root.get(path).content.decode()
    assert "box29" in page


@pytest.mark.parametrize("path", LISTS)
def test_anonymous_is_sent_to_sign_in(client: Browser, db: None, path: str) -> None:
    assert client.get(path)["Location"].startswith("/admin/login/")


@pytest.mark.parametrize("path", LISTS)
def test_staff_without_rights_see_nothing(db: None, path: str) -> None:
    assert staff("helper").get(path).status_code == 403


def test_session_of_a_client_is_no_key_to_the_admin_site(as_box: FileClient) -> None:
    assert as_box.send("GET", CLIENTS).status_code == 302


@pytest.mark.parametrize("path", LISTS)
def test_nothing_is_deleted(as_root: Browser, as_box: FileClient, rain: File, path: str) -> None:
    model: Any = {CLIENTS: Client, SESSIONS: Session, FILES: File, EVENTS: AuditEvent}[path]
    row = model.objects.first()
    assert as_root.post(f"{path}{row.pk}/delete/", {"post": "yes"}).status_code == 403
    assert "delete_selected" not in as_root.get(path).content.decode()


@pytest.mark.parametrize("path", [SESSIONS, EVENTS])
def test_what_happened_is_only_looked_at(as_root: Browser, as_box: FileClient, path: str) -> None:
    model: Any = {SESSIONS: Session, EVENTS: AuditEvent}[path]
    row = model.objects.first()
    assert as_root.get(f"{path}{row.pk}/change/").status_code == 200
    assert as_root.post(f"{path}{row.pk}/change/", {}).status_code == 403
    assert as_root.post(f"{path}add/", {}).status_code == 403


def test_sessions_are_listed_without_their_tokens(as_root: Browser, as_box: FileClient) -> None:
    session = Session.objects.get()
    page = as_root.get(SESSIONS).content.decode() + as_root.get(f"{SESSIONS}{session.pk}/change/").content.decode()
    assert "box" in page
    assert as_box.token not in page
    assert session.digest not in page


def test_history_is_listed_with_who_and_what(as_root: Browser, rain: File, box: Client) -> None:
    page = as_root.get(EVENTS).content.decode()
    for word in ("client.add", "weather.txt", "test", "box"):
        assert word in page


def test_words_of_strangers_are_escaped(as_root: Browser, file_root: Path) -> None:
    (file_root / "a").write_text("")
    catalogue.add_file(Actor("test"), "<script>alert(1)<", f"{file_root}/a", category="<script>alert(2)")
    for path in (FILES, EVENTS, f"{FILES}{File.objects.get().pk}/change/"):
        assert "<script>alert" not in as_root.get(path).content.decode()


# --- Keys are shown once -----------------------------------------------------------------------------------------


def add_client(browser: Browser, name: str = "box", **fields: str) -> Any:
    return browser.post(f"{CLIENTS}add/", {"name": name, "rights": "WRITE", **fields})


def shown(response: Any) -> str:
    """The one key on a page that is kept by nobody."""
    assert response.status_code == 200
    assert "no-store" in response["Cache-Control"]
    (key,) = re.findall("<code>([0-9a-f]{64})</code>", response.content.decode())
    return str(key)


def assert_gone(browser: Browser, key: str) -> None:
    """Neither the browser nor the database nor another page has it."""
    assert not any(key in morsel.value for morsel in browser.cookies.values())
    assert key not in repr(dict(browser.session.items()))
    out = StringIO()
    call_command("dumpdata", stdout=out)
    assert key not in out.getvalue()
    number = Client.objects.get().pk
    for path in ("/admin/", *LISTS, f"{CLIENTS}{number}/change/", f"{CLIENTS}{number}/history/", f"{CLIENTS}add/"):
        assert key not in browser.get(path).content.decode()


@pytest.mark.parametrize("button", ["_save", "_addanother", "_continue"])
def test_key_of_a_new_client_is_shown_once(as_root: Browser, button: str) -> None:
    key = shown(add_client(as_root, **{button: "Save"}))
    assert FileClient("box", bytes.fromhex(key)).log_in()
    assert_gone(as_root, key)
    assert last() == ("staff root", "client.add", "box", {})


def test_new_key_of_a_client_is_shown_once(as_root: Browser, box: Client) -> None:
    key = shown(as_root.post(CLIENTS, {"action": "rotate", "_selected_action": [box.pk]}))
    assert FileClient("box", bytes.fromhex(key)).log_in()
    assert_gone(as_root, key)
    assert last() == ("staff root", "client.rotate", "box", {"sessions_ended": 0})


def test_keys_of_several_clients_are_shown_together(as_root: Browser, box: Client, reader: Client) -> None:
    page = act(as_root, CLIENTS, "rotate", box, reader)
    rows = re.findall(r"<tr><th[^>]*><a [^>]*>(\w+)</a></th><td><code>([0-9a-f]{64})</code></td></tr>", page)
    for name, key in rows:
        assert FileClient(name, bytes.fromhex(key)).log_in()
    assert [name for name, _ in rows] == ["box", "reader"]


def test_page_of_a_client_shows_neither_key_nor_secret(as_root: Browser, as_box: FileClient, box: Client) -> None:
    page = as_root.get(f"{CLIENTS}{box.pk}/change/").content.decode()
    key = ClientKey.objects.get()
    assert "AES_CBC" in page
    for hidden in (KEY.hex(), KEY.decode(), key.secret, as_box.token, Session.objects.get().digest):
        assert hidden not in page


# --- Clients -----------------------------------------------------------------------------------------------------


def test_client_is_added_as_the_form_says(as_root: Browser, file_root: Path) -> None:
    about = {"description": "On the roof", "maintainer": "Alice", "email": "alice@example.com"}
    add_client(as_root, rights="READ", roots=f"  {file_root}/a  \r\n\r\n{file_root}/b\r\n", **about)
    client = Client.objects.get()
    assert (client.rights, client.roots, client.is_active) == ("READ", f"{file_root}/a\n{file_root}/b", True)
    assert (client.description, client.maintainer, client.email) == ("On the roof", "Alice", "alice@example.com")


@pytest.mark.parametrize("name", ["a b", "a/b", ".box", "é"])
def test_bad_name_is_told(as_root: Browser, name: str) -> None:
    page = as_root.post(f"{CLIENTS}add/", {"name": name, "rights": "WRITE"}, follow=True)
    assert f"{name!r} cannot be the name of a client" in html.unescape(page.content.decode())
    assert not Client.objects.exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "box"},
        {"rights": "KING"},
        {"email": "nonsense"},
        {"description": "x" * 1001},
        {"name": "\0"},
    ],
)
def test_wrong_fields_are_told_in_the_form(as_root: Browser, box: Client, wrong: dict[str, str]) -> None:
    page = as_root.post(f"{CLIENTS}add/", {"name": "another", "rights": "WRITE", **wrong})
    assert "errorlist" in page.content.decode()
    assert Client.objects.count() == 1


@pytest.mark.parametrize("configured", [False, True])
def test_client_of_a_directory_outside_is_told(
    as_root: Browser, file_root: Path, settings: Any, configured: bool
) -> None:
    settings.FILE_ROOTS = [str(file_root)] if configured else []
    page = as_root.post(f"{CLIENTS}add/", {"name": "box", "rights": "WRITE", "roots": "/etc"}, follow=True)
    told = f"'/etc' is not beneath REGISTRY_FILE_ROOTS ({file_root if configured else 'none'})."
    assert told in html.unescape(page.content.decode())
    assert not Client.objects.exists()


INLINES = {f"{inline}-{form}": "0" for inline in ("keys", "sessions") for form in ("TOTAL_FORMS", "INITIAL_FORMS")}


def change_client(browser: Browser, client: Client, **fields: str) -> Any:
    path = f"{CLIENTS}{client.pk}/change/"
    return browser.post(path, {"rights": "WRITE", "description": "", **INLINES, **fields}, follow=True)


def test_rights_are_changed(as_root: Browser, box: Client) -> None:
    change_client(as_root, box, rights="READ")
    box.refresh_from_db()
    assert box.rights == "READ"
    assert last() == ("staff root", "client.change", "box", {"fields": ["rights"]})


def test_directories_are_changed(as_root: Browser, box: Client, file_root: Path) -> None:
    change_client(as_root, box, roots=f"{file_root}/a\r\n{file_root}/b")
    box.refresh_from_db()
    assert box.roots == f"{file_root}/a\n{file_root}/b"


def test_change_to_a_directory_outside_is_told(as_root: Browser, box: Client, file_root: Path) -> None:
    page = change_client(as_root, box, roots="/etc")
    assert "'/etc' is not beneath REGISTRY_FILE_ROOTS" in html.unescape(page.content.decode())
    box.refresh_from_db()
    assert box.roots == ""


def test_name_and_standing_are_not_changed_by_the_form(as_root: Browser, box: Client) -> None:
    change_client(as_root, box, name="another", is_active="")
    box.refresh_from_db()
    assert (box.name, box.is_active) == ("box", True)


def test_form_that_changes_nothing_leaves_no_history(as_root: Browser, box: Client) -> None:
    change_client(as_root, box)
    assert last()[1] == "client.add"


def test_directories_that_stay_are_no_change(as_root: Browser, box: Client, file_root: Path) -> None:
    change_client(as_root, box, roots=f"{file_root}/a\r\n{file_root}/b")
    change_client(as_root, box, roots=f"{file_root}/a\r\n{file_root}/b", rights="READ")
    assert last() == ("staff root", "client.change", "box", {"fields": ["rights"]})


def test_client_with_a_directory_that_left_the_settings_is_still_changed(
    as_root: Browser, box: Client, file_root: Path, settings: Any
) -> None:
    change_client(as_root, box, roots=f"{file_root}/a\r\n{file_root}/b")
    settings.FILE_ROOTS = []
    change_client(as_root, box, roots=f"{file_root}/a\r\n{file_root}/b", description="of the roof")
    box.refresh_from_db()
    assert (box.description, box.roots) == ("of the roof", f"{file_root}/a\n{file_root}/b")


def test_clients_are_disabled_and_enabled(as_root: Browser, as_box: FileClient, box: Client, reader: Client) -> None:
    clients.set_active(reader, active=False, actor="test")
    assert "1 disabled; the others were so before." in act(as_root, CLIENTS, "disable", box, reader)
    assert as_box.send("GET", "/").status_code == 401
    assert last()[:3] == ("staff root", "client.disable", "box")
    assert "2 enabled; the others were so before." in act(as_root, CLIENTS, "enable", box, reader)
    assert as_box.log_in()
    assert last()[:3] == ("staff root", "client.enable", "reader")


def test_rotation_ends_sessions(as_root: Browser, as_box: FileClient, box: Client) -> None:
    act(as_root, CLIENTS, "rotate", box)
    assert as_box.send("GET", "/").status_code == 401


def test_sessions_of_clients_are_ended(
    as_root: Browser, as_box: FileClient, as_reader: FileClient, box: Client
) -> None:
    assert "1 sessions ended." in act(as_root, CLIENTS, "end_sessions", box)
    assert [machine.send("GET", "/").status_code for machine in (as_box, as_reader)] == [401, 200]
    assert last() == ("staff root", "client.sessions", "box", {"sessions_ended": 1})


def test_single_session_is_ended_once(as_root: Browser, as_box: FileClient) -> None:
    session = Session.objects.get()
    assert "1 ended; the others had ended before." in act(as_root, SESSIONS, "end", session)
    assert as_box.send("GET", "/").status_code == 401
    assert "0 ended; the others had ended before." in act(as_root, SESSIONS, "end", session)
    assert last() == ("staff root", "client.sessions", "box", {"session": f"{session.created_at:%Y-%m-%d %H:%M}"})
    assert AuditEvent.objects.filter(action="client.sessions").count() == 1


def test_history_of_staff_has_their_address(as_root: Browser, box: Client) -> None:
    act(as_root, CLIENTS, "disable", box)
    assert AuditEvent.objects.get(action="client.disable").ip_address == "127.0.0.1"


# --- Who may only look -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", LISTS)
def test_viewer_sees_lists(as_viewer: Browser, as_box: FileClient, rain: File, path: str) -> None:
    assert as_viewer.get(path).status_code == 200


@pytest.mark.parametrize("action", ["rotate", "disable", "enable", "end_sessions"])
def test_viewer_does_nothing_to_clients(as_viewer: Browser, as_box: FileClient, box: Client, action: str) -> None:
    before = ClientKey.objects.get().secret
    act(as_viewer, CLIENTS, action, box)
    assert as_box.send("GET", "/").status_code == 200
    assert (ClientKey.objects.get().secret, file_events().count()) == (before, 1)


def test_viewer_adds_and_changes_no_client(as_viewer: Browser, box: Client) -> None:
    assert add_client(as_viewer, "another").status_code == 403
    assert change_client(as_viewer, box, rights="READ").status_code == 403
    assert [client.rights for client in Client.objects.all()] == ["WRITE"]


def test_viewer_ends_no_session(as_viewer: Browser, as_box: FileClient) -> None:
    act(as_viewer, SESSIONS, "end", Session.objects.get())
    assert as_box.send("GET", "/").status_code == 200


def test_viewer_adds_changes_and_ends_no_file(as_viewer: Browser, rain: File, weather: str) -> None:
    assert add_file(as_viewer, serve_path="b.txt", path=weather).status_code == 403
    assert change_file(as_viewer, rain, serve_path="b.txt").status_code == 403
    act(as_viewer, FILES, "remove", rain)
    assert [(file.serve_path, file.alive) for file in File.objects.all()] == [("weather.txt", True)]


def test_right_to_change_sessions_is_enough_to_end_them(as_box: FileClient) -> None:
    browser = staff("helper", "view_session", "change_session")
    act(browser, SESSIONS, "end", Session.objects.get())
    assert as_box.send("GET", "/").status_code == 401


# --- Files -------------------------------------------------------------------------------------------------------


def add_file(browser: Browser, **fields: Any) -> Any:
    return browser.post(f"{FILES}add/", fields, follow=True)


def change_file(browser: Browser, file: File, **fields: Any) -> Any:
    present = {"serve_path": file.serve_path, "path": file.path, "category": file.category or ""}
    return browser.post(f"{FILES}{file.pk}/change/", {**present, **fields}, follow=True)


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
    assert last() == ("staff root", "file.add", "weather.txt", {})


def test_file_is_added_by_upload(as_root: Browser, as_box: FileClient) -> None:
    add_file(as_root, serve_path="weather.txt", upload=upload(b"sunshine"), category="weather", aired="on")
    file = File.objects.get()
    assert (file.path, file.size, file.category, file.aired) == (f"upload:{file.sha256}", 8, "weather", True)
    assert content_of(as_box, file) == b"sunshine"
    assert last() == ("staff root", "file.add", "weather.txt", {})


def test_file_with_an_end_is_added(as_root: Browser, weather: str) -> None:
    add_file(as_root, serve_path="weather.txt", path=weather, expires_at_0="2999-01-01", expires_at_1="00:00:00")
    expires_at = File.objects.get().expires_at
    assert expires_at is not None
    assert expires_at.isoformat() == "2999-01-01T00:00:00+00:00"


def test_file_is_changed(as_root: Browser, rain: File) -> None:
    change_file(as_root, rain, serve_path="today.txt", category="weather", aired="on")
    file = File.objects.get()
    assert (file.serve_path, file.category, file.aired, file.path) == ("today.txt", "weather", True, rain.path)
    assert file.modified_at > rain.modified_at
    actor, action, target, detail = last()
    assert (actor, action, target) == ("staff root", "file.update", "today.txt")
    assert set(detail["fields"]) == {"serve_path", "category", "aired"}


def test_file_is_replaced_by_another_path(as_root: Browser, rain: File, file_root: Path) -> None:
    (file_root / "snow.txt").write_text("snow!")
    change_file(as_root, rain, path=f"{file_root}/snow.txt")
    file = File.objects.get()
    assert (file.path, file.size) == (f"{file_root}/snow.txt", 5)


def test_file_is_replaced_by_an_upload(as_root: Browser, as_box: FileClient, rain: File) -> None:
    change_file(as_root, rain, upload=upload(b"sunshine"))
    file = File.objects.get()
    assert (file.path, file.size) == (f"upload:{file.sha256}", 8)
    assert content_of(as_box, file) == b"sunshine"


def test_upload_is_replaced_by_a_path(as_root: Browser, as_box: FileClient, weather: str) -> None:
    add_file(as_root, serve_path="weather.txt", upload=upload(b"sunshine"))
    change_file(as_root, File.objects.get(), path=weather)
    file = File.objects.get()
    assert (file.path, file.size, file.sha256) == (weather, 4, "")
    assert content_of(as_box, file) == b"rain"


def test_form_of_a_file_that_changes_nothing_leaves_no_history(as_root: Browser, rain: File) -> None:
    change_file(as_root, rain)
    assert (File.objects.get().modified_at, last()[1]) == (rain.modified_at, "file.add")


def test_category_is_taken_away(as_root: Browser, weather: str) -> None:
    add_file(as_root, serve_path="weather.txt", path=weather, category="weather")
    change_file(as_root, File.objects.get(), category="")
    assert File.objects.get().category is None


def test_files_are_marked_as_dead_once(as_root: Browser, rain: File) -> None:
    assert "1 are dead now; the others were before. Their bytes stay." in act(as_root, FILES, "remove", rain)
    assert not File.objects.get().alive
    assert last() == ("staff root", "file.delete", "weather.txt", {})
    assert "0 are dead now; the others were before." in act(as_root, FILES, "remove", rain)
    assert AuditEvent.objects.filter(action="file.delete").count() == 1


def test_dead_file_stays_as_it_is(as_root: Browser, rain: File) -> None:
    act(as_root, FILES, "remove", rain)
    assert as_root.get(f"{FILES}{rain.pk}/change/").status_code == 200
    assert change_file(as_root, rain, serve_path="b.txt").status_code == 403
    assert File.objects.get().serve_path == "weather.txt"


def told(response: Any) -> str:
    """What a page says of a form that was refused."""
    assert response.status_code == 200
    page = html.unescape(response.content.decode())
    found = re.findall(
        r'class="(?:error|errornote)">(.*?)<|class="errorlist[^"]*"[^>]*><li>(.*?)</li>', page, re.DOTALL
    )
    return " ".join(" ".join(part) for part in found)


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
    return catalogue.add_file(Actor("test"), serve_path="taken.txt", path=weather)


def filled(fields: dict[str, str], file_root: Path, weather: str) -> dict[str, Any]:
    given: dict[str, Any] = {name: value.format(root=file_root, weather=weather) for name, value in fields.items()}
    return {**given, "upload": upload(b"sunshine")} if "upload" in given else given


@pytest.mark.parametrize(("fields", "reason"), REFUSED)
def test_file_that_is_refused_is_told_and_not_added(
    as_root: Browser, taken: File, file_root: Path, weather: str, fields: dict[str, str], reason: str
) -> None:
    given = filled(fields, file_root, weather)
    response = add_file(as_root, **{"serve_path": "new.txt", "path": weather, **given})
    assert (reason.format(root=file_root) or "Give a path on the disk of the server, or a file to upload.") in told(
        response
    )
    assert File.objects.get() == taken
    assert file_events().count() == 1


@pytest.mark.parametrize(("fields", "reason"), REFUSED)
def test_change_that_is_refused_is_told_and_not_made(
    as_root: Browser, taken: File, file_root: Path, rain: File, weather: str, fields: dict[str, str], reason: str
) -> None:
    (file_root / "other.txt").write_text("other")
    response = change_file(as_root, rain, **filled(fields, file_root, f"{file_root}/other.txt"))
    expected = reason.format(root=file_root) or "Give `path`, of a file on the disk of the server, or upload a `file`"
    assert expected in told(response)
    assert File.objects.filter(pk=rain.pk).values().get() == {
        name: value for name, value in vars(rain).items() if not name.startswith("_")
    }
    assert file_events().count() == 2


def test_file_without_bytes_is_told(as_root: Browser) -> None:
    response = add_file(as_root, serve_path="new.txt")
    assert "Give a path on the disk of the server, or a file to upload." in told(response)


def test_path_that_is_emptied_is_told(as_root: Browser, rain: File) -> None:
    assert "`path` must be specified" in told(change_file(as_root, rain, path=""))
    assert File.objects.get().path == rain.path


def test_path_is_told_to_be_of_no_use_where_there_are_no_directories(as_root: Browser, settings: Any) -> None:
    settings.FILE_ROOTS = []
    assert (
        "This registry has no directories to register files from (REGISTRY_FILE_ROOTS); upload the file instead."
    ) in told(add_file(as_root, serve_path="new.txt", path="/srv/new.txt"))
    assert not File.objects.exists()


def test_path_that_is_refused_is_not_said_to_be_missing(as_root: Browser, file_root: Path) -> None:
    reasons = told(add_file(as_root, serve_path="new.txt", path=f"{file_root}/none.txt"))
    assert "No file at path" in reasons
    assert "Give a path" not in reasons


def test_upload_that_is_too_large_is_told(as_root: Browser, settings: Any) -> None:
    settings.MAX_FILE_SIZE = 7
    response = add_file(as_root, serve_path="new.txt", upload=upload(b"sunshine"))
    assert told(response).strip() == "The file has 8 bytes; at most 7 are taken here."
    assert not File.objects.exists()

"""Sessions of clients: where requests carry their tokens, when sessions end, and races on a running server."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from functools import partial
from http.client import HTTPConnection
from http.cookies import SimpleCookie
from io import StringIO
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.db import transaction
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart
from django.utils import timezone

from files import clients, sessions
from files.models import Client, Session
from registry_site.errors import Unauthenticated
from registry_site.models import AuditEvent
from tests.support.concurrency import run_concurrently
from tests.support.file_clients import KEY, FileClient, encrypt_challenge, failure
from tests.support.servers import PASSWORD, Server, running

NOT_FOUND = "No session found"
TIMED_OUT = "Session timedout"
NO_MATCH = "No matching handshake found for response"
IN_LARGE_BODY = "No session found: so large a body comes with session_token in the query or a header."
EMPTY = {"success": True, "results": [], "count": 0}


def assert_refused(response: Any, message: str = NOT_FOUND) -> None:
    assert (response.status_code, response.json()) == (401, failure(message))
    assert response["WWW-Authenticate"] == 'Bearer realm="files"'


def assert_listed(response: Any) -> None:
    assert (response.status_code, response.json()) == (200, EMPTY)


# --- Tokens in requests ------------------------------------------------------------------------------------------


def test_token_is_read_from_query_and_header(machine: FileClient, session: str) -> None:
    assert_listed(machine.generic("GET", f"/?session_token={session}"))
    for scheme in ("Bearer", "bearer", "BEARER", "Bearer  "):
        assert_listed(machine.generic("GET", "/", headers={"Authorization": f"{scheme} {session}"}))


def urlencoded(fields: dict[str, str]) -> tuple[Any, str]:
    return urlencode(fields), "application/x-www-form-urlencoded"


def untyped(fields: dict[str, str]) -> tuple[Any, str]:
    return urlencode(fields), ""


def multipart(fields: dict[str, str]) -> tuple[Any, str]:
    return encode_multipart(BOUNDARY, fields), MULTIPART_CONTENT


def as_json(fields: dict[str, str]) -> tuple[Any, str]:
    return json.dumps(fields), "application/json"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_token_is_read_from_any_body(machine: FileClient, session: str, method: str) -> None:
    path = "/" if method == "POST" else "/1"
    for encode in (urlencoded, untyped, multipart, as_json):
        content, content_type = encode({"session_token": session})
        assert machine.generic(method, path, content, content_type=content_type).status_code in (200, 400)
        content, content_type = encode({"session_token": "0" * 32})
        assert_refused(machine.generic(method, path, content, content_type=content_type))


ROUTES = [("GET", "/"), ("HEAD", "/"), ("POST", "/"), ("GET", "/1"), ("PUT", "/1"), ("DELETE", "/1")]


def test_every_request_needs_a_session(machine: FileClient) -> None:
    for method, path in ROUTES:
        for machine.token in ("", "0" * 32):
            response = machine.send(method, path)
            assert (response.status_code, response["WWW-Authenticate"]) == (401, 'Bearer realm="files"')


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_malformed_token_is_refused(machine: FileClient, session: str, method: str) -> None:
    similar = [session.upper(), session + "0", session[:-1], f" {session}"]
    for token in ("x", "é", "\udcff", "a" * 10_000, "' OR 1=1 --", *similar):
        parameters = urlencode({"session_token": token}, errors="surrogateescape")
        query, body = (f"?{parameters}", "") if method == "GET" else ("", parameters)
        assert_refused(machine.generic(method, f"/{query}", body, content_type=""))


def test_malformed_header_is_refused(machine: FileClient, session: str) -> None:
    for header in ("Bearer", "Bearer ", "Bearer x", "Basic Ym94OmJveA==", session, f"Token {session}"):
        assert_refused(machine.generic("GET", "/", headers={"Authorization": header}))


def test_token_of_another_type_is_refused(machine: FileClient, box: Client) -> None:
    for body in ('{"session_token": ["x"]}', '{"session_token": {}}', '{"session_token": 5}', "[]"):
        response = machine.generic("POST", "/", body, content_type="application/json")
        assert response.status_code in (400, 401)
        assert response.json()["success"] is False


# --- Tokens with client_name -------------------------------------------------------------------------------------


def test_own_name_beside_a_token_is_accepted(as_box: FileClient) -> None:
    assert_listed(as_box.send("GET", "/", {"client_name": "box"}))


def test_other_name_beside_a_token_is_refused(as_box: FileClient, reader: Client) -> None:
    for name in ("reader", "BOX", "stranger", "", " box"):
        assert_refused(as_box.send("GET", "/", {"client_name": name}))
    for method, path in (("POST", "/"), ("PUT", "/1")):
        assert_refused(as_box.send(method, path, {"client_name": "reader"}))


def test_name_in_the_body_is_compared_too(machine: FileClient, session: str) -> None:
    for path, headers in ((f"/?session_token={session}", {}), ("/", {"Authorization": f"Bearer {session}"})):
        assert_refused(machine.generic("POST", path, "client_name=reader", content_type="", headers=headers))


# --- End of a session --------------------------------------------------------------------------------------------


def test_session_times_out(as_box: FileClient) -> None:
    Session.objects.update(expires_at=timezone.now())
    assert_refused(as_box.send("GET", "/"), TIMED_OUT)


def test_use_does_not_prolong_a_session(as_box: FileClient) -> None:
    before = Session.objects.get().expires_at
    assert_listed(as_box.send("GET", "/"))
    assert Session.objects.get().expires_at == before


def test_ended_session_is_refused(as_box: FileClient) -> None:
    assert Session.objects.all().end()
    assert_refused(as_box.send("GET", "/"))


def test_session_ends_once(as_box: FileClient) -> None:
    session = Session.objects.get()
    assert [clients.end_session(session, actor="test") for _ in range(2)] == [True, False]


def test_disabled_client_has_no_session(as_box: FileClient, box: Client) -> None:
    clients.set_active(box, active=False, actor="test")
    assert_refused(as_box.send("GET", "/"))


def test_session_of_an_inactive_client_is_not_live(as_box: FileClient, box: Client) -> None:
    session = sessions.authenticate(as_box.token)
    Client.objects.update(is_active=False)
    with pytest.raises(Unauthenticated):
        sessions.refresh(session)
    assert not Session.objects.live().exists()


def test_enabled_client_has_no_old_session(as_box: FileClient, box: Client) -> None:
    clients.set_active(box, active=False, actor="test")
    clients.set_active(box, active=True, actor="test")
    assert_refused(as_box.send("GET", "/"))


def test_rotated_key_ends_sessions(as_box: FileClient, box: Client) -> None:
    clients.rotate_key(box, b"another key of 3", actor="test")
    assert_refused(as_box.send("GET", "/"))


def test_sessions_of_others_stay_live(as_box: FileClient, as_reader: FileClient, box: Client) -> None:
    clients.rotate_key(box, b"another key of 3", actor="test")
    assert_listed(as_reader.send("GET", "/"))


@pytest.mark.parametrize("end", ["disable", "rotate", "end", "expire"])
def test_session_that_ended_meanwhile_is_refused(as_box: FileClient, box: Client, end: str) -> None:
    session = sessions.authenticate(as_box.token)
    match end:
        case "disable":
            clients.set_active(box, active=False, actor="test")
        case "rotate":
            clients.rotate_key(box, KEY, actor="test")
        case "end":
            Session.objects.filter(pk=session.pk).end()
        case "expire":
            Session.objects.update(expires_at=timezone.now())
    with pytest.raises(Unauthenticated, match=f"^{NOT_FOUND}$"):
        sessions.refresh(session)


def test_new_session_ends_the_oldest_of_hundred(as_box: FileClient, box: Client) -> None:
    with transaction.atomic():
        tokens = [sessions.create_session(box, 3600) for _ in range(100)]
    assert Session.objects.live().count() == 100
    assert_refused(as_box.send("GET", "/"))
    for token in (tokens[0], tokens[-1]):
        as_box.token = token
        assert_listed(as_box.send("GET", "/"))


def test_limit_does_not_count_sessions_of_others(as_reader: FileClient, box: Client) -> None:
    with transaction.atomic():
        for _ in range(101):
            sessions.create_session(box, 3600)
    assert_listed(as_reader.send("GET", "/"))


def test_limit_does_not_count_expired_sessions(as_box: FileClient, box: Client) -> None:
    own = Session.objects.get()
    with transaction.atomic():
        for _ in range(99):
            sessions.create_session(box, 3600)
        Session.objects.exclude(pk=own.pk).update(expires_at=timezone.now())
        sessions.create_session(box, 3600)
    assert_listed(as_box.send("GET", "/"))


def test_ended_sessions_are_purged(as_box: FileClient, as_reader: FileClient) -> None:
    clients.end_session(sessions.authenticate(as_box.token), actor="test")
    call_command("purge", stdout=StringIO())
    assert [session.client.name for session in Session.objects.all()] == ["reader"]


# --- Stored rows -------------------------------------------------------------------------------------------------


def test_token_is_not_stored(as_box: FileClient) -> None:
    as_box.send("GET", "/")
    out = StringIO()
    call_command("dumpdata", stdout=out)
    assert "files.session" in out.getvalue()
    assert as_box.token not in out.getvalue()


def test_session_has_client_and_address(machine: FileClient) -> None:
    machine.answer(machine.challenge(), duration=60)
    session = Session.objects.get()
    assert (session.client.name, session.peer, session.ended_at) == ("box", "127.0.0.1", None)
    assert session.expires_at - session.created_at == timedelta(seconds=60)


def test_sessions_are_not_in_the_audit_log(as_box: FileClient) -> None:
    assert list(AuditEvent.objects.values_list("action", flat=True)) == ["client.add"]


# --- Races on a running server -----------------------------------------------------------------------------------

RACERS = 50
Answer = tuple[int, dict[str, Any]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("files") / "data", REGISTRY_FILE_HANDSHAKES_PER_MINUTE="100000") as server:
        server.manage("createuser", "root", "--admin", "--password-stdin", text=PASSWORD)
        yield server


def request(server: Server, method: str, path: str, body: str = "", **headers: str) -> tuple[int, str, SimpleCookie]:
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), SimpleCookie("; ".join(answer.headers.get_all("Set-Cookie", [])))


def post(server: Server, path: str, **fields: Any) -> Answer:
    status, body, _ = request(server, "POST", path, urlencode(fields))
    return status, json.loads(body)


def prepare_answer(server: Server, name: str, key: bytes) -> Callable[[], Answer]:
    """Return a function that sends the right answer to a new challenge."""
    challenge = post(server, "/auth", client_name=name)[1]["challenge"]
    text = encrypt_challenge(key, challenge)
    return partial(post, server, "/auth_verify", client_name=name, id=challenge["id"], encrypted_text=text)


def tokens_of(answers: list[Answer]) -> list[str]:
    return [body["session"]["token"] for _, body in answers if body["success"]]


def live_tokens(server: Server, tokens: list[str]) -> list[str]:
    return [token for token in tokens if request(server, "GET", f"/?session_token={token}")[0] == 200]


class Staff:
    """An administrator with a browser."""

    def __init__(self, server: Server) -> None:
        self.server, self.cookies = server, SimpleCookie()
        self.open("GET", "/admin/login/")
        assert self.open("POST", "/admin/login/", username="root", password=PASSWORD)[0] == 302

    def open(self, method: str, path: str, **fields: str) -> tuple[int, str]:
        csrf = {"csrfmiddlewaretoken": self.cookies["csrftoken"].value} if method == "POST" else {}
        cookies = "; ".join(f"{name}={morsel.value}" for name, morsel in self.cookies.items())
        headers = {"Cookie": cookies, "Content-Type": "application/x-www-form-urlencoded", "Referer": self.server.url}
        status, body, cookie = request(self.server, method, path, urlencode(csrf | fields), **headers)
        self.cookies.update(cookie)
        return status, body

    def add_client(self, name: str) -> tuple[str, bytes]:
        """Add a client, and return its id and its key."""
        status, page = self.open("POST", "/admin/files/client/add/", name=name, rights="WRITE")
        assert status == 200
        [key] = re.findall(r"<code>([0-9a-f]{64})</code>", page)
        return re.findall(r'href="/admin/files/client/([0-9]+)/', page)[-1], bytes.fromhex(key)

    def run_action(self, action: str, pk: str) -> tuple[int, str]:
        return self.open("POST", f"/admin/files/client/act/{action}/", run=str(uuid4()), pk=pk)


@pytest.fixture(scope="module")
def staff(server: Server) -> Staff:
    return Staff(server)


def test_one_of_many_answers_opens_a_session(server: Server, staff: Staff) -> None:
    _, key = staff.add_client("parallel")
    answers = run_concurrently([prepare_answer(server, "parallel", key)] * RACERS)
    refused = (200, {"success": False, "error": NO_MATCH, "message": NO_MATCH})
    assert sum(answer == refused for answer in answers) == RACERS - 1
    assert len(live_tokens(server, tokens_of(answers))) == 1


def test_many_challenges_open_many_sessions(server: Server, staff: Staff) -> None:
    _, key = staff.add_client("many")
    answers = run_concurrently([prepare_answer(server, "many", key) for _ in range(RACERS)])
    assert len(set(live_tokens(server, tokens_of(answers)))) == RACERS


@pytest.mark.parametrize("action", ["rotate", "disable", "end_sessions"])
def test_staff_end_all_sessions(server: Server, staff: Staff, action: str) -> None:
    pk, key = staff.add_client(f"racing-{action}")
    before = tokens_of([prepare_answer(server, f"racing-{action}", key)() for _ in range(3)])
    assert live_tokens(server, before) == before
    calls: list[Callable[[], Any]] = [partial(staff.run_action, action, pk)]
    run_concurrently(calls + [partial(live_tokens, server, before)] * 9)
    assert live_tokens(server, before) == []


@pytest.mark.parametrize("action", ["rotate", "disable"])
def test_answers_during_an_action_open_nothing(server: Server, staff: Staff, action: str) -> None:
    pk, key = staff.add_client(f"beside-{action}")
    racers: list[Callable[[], Any]] = []
    for _ in range(5):
        racers += [prepare_answer(server, f"beside-{action}", key) for _ in range(3)]
        racers += [partial(staff.run_action, action, pk)]
    results = run_concurrently(racers)
    assert {status for status, _ in results} <= {200, 302}
    tokens = tokens_of([answer for answer in results if isinstance(answer[1], dict)])
    assert live_tokens(server, tokens) == []
    assert tokens_of([prepare_answer(server, f"beside-{action}", key)()]) == []


def test_one_of_many_new_keys_is_stored(server: Server, staff: Staff) -> None:
    pk, _ = staff.add_client("keys")
    pages = run_concurrently([partial(staff.run_action, "rotate", pk)] * 20)
    assert Counter(status for status, _ in pages) == {200: 20}
    digits = [match for _, page in pages for match in re.findall("<code>([0-9a-f]{64})</code>", page)]
    keys = [bytes.fromhex(key) for key in digits]
    assert len(set(keys)) == 20
    assert len(tokens_of([prepare_answer(server, "keys", key)() for key in keys])) == 1


@pytest.mark.parametrize("content_type", ["text/plain", "application/json", "multipart/form-data; boundary=x"])
def test_large_body_without_token_is_not_read(server: Server, content_type: str) -> None:
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:
        connection.putrequest("POST", "/")
        connection.putheader("Content-Type", content_type)
        connection.putheader("Content-Length", str(2**20 + 1))
        connection.endheaders()
        answer = connection.getresponse()
        assert (answer.status, json.loads(answer.read())) == (401, failure(IN_LARGE_BODY))
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="files"'

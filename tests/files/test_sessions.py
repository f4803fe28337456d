"""Sessions of clients: how their tokens come, when they end; and many at once, against a real server."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from functools import partial
from http.client import HTTPConnection
from http.cookies import SimpleCookie
from io import StringIO
from threading import Barrier
from typing import Any
from urllib.parse import urlencode

import pytest
from django.core.management import call_command
from django.db import transaction
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart
from django.utils import timezone

from files import clients, sessions
from files.models import Client, Session
from registry_site.errors import Unauthenticated
from registry_site.models import AuditEvent
from tests.support.file_clients import KEY, FileClient, encrypt_challenge
from tests.support.servers import PASSWORD, Server, running

NOT_FOUND = "No session found"
TIMED_OUT = "Session timedout"
NO_MATCH = "No matching handshake found for response"
IN_LARGE_BODY = "No session found: so large a body comes with session_token in the query or a header."
EMPTY = {"success": True, "results": [], "count": 0}


def assert_refused(response: Any, message: str = NOT_FOUND) -> None:
    told = {"success": False, "error": message, "message": message}
    assert (response.status_code, response.json()) == (401, told)
    assert response["WWW-Authenticate"] == 'Bearer realm="files"'


def assert_listed(response: Any) -> None:
    assert (response.status_code, response.json()) == (200, EMPTY)


# --- Where the token is ------------------------------------------------------------------------------------------


def test_token_is_taken_in_the_query(machine: FileClient, session: str) -> None:
    assert_listed(machine.generic("GET", f"/?session_token={session}"))


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer  "])
def test_token_is_taken_in_a_header(machine: FileClient, session: str, scheme: str) -> None:
    assert_listed(machine.generic("GET", "/", headers={"Authorization": f"{scheme} {session}"}))


def urlencoded(given: dict[str, str]) -> tuple[Any, str]:
    return urlencode(given), "application/x-www-form-urlencoded"


def untyped(given: dict[str, str]) -> tuple[Any, str]:
    return urlencode(given), ""


def multipart(given: dict[str, str]) -> tuple[Any, str]:
    return encode_multipart(BOUNDARY, given), MULTIPART_CONTENT


def as_json(given: dict[str, str]) -> tuple[Any, str]:
    return json.dumps(given), "application/json"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
@pytest.mark.parametrize("encode", [urlencoded, untyped, multipart, as_json])
def test_token_is_taken_in_a_body(machine: FileClient, session: str, encode: Callable[..., Any], method: str) -> None:
    content, content_type = encode({"session_token": session})
    path = "/" if method == "POST" else "/1"
    assert machine.generic(method, path, content, content_type=content_type).status_code in (200, 400)
    content, content_type = encode({"session_token": "0" * 32})
    assert_refused(machine.generic(method, path, content, content_type=content_type))


ROUTES = [("GET", "/"), ("HEAD", "/"), ("POST", "/"), ("GET", "/1"), ("PUT", "/1"), ("DELETE", "/1")]


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_every_request_needs_a_session(machine: FileClient, method: str, path: str) -> None:
    for machine.token in ("", "0" * 32):
        response = machine.send(method, path)
        assert (response.status_code, response["WWW-Authenticate"]) == (401, 'Bearer realm="files"')


@pytest.mark.parametrize(
    "token", ["x", "é", "\udcff", "a" * 10_000, "' OR 1=1 --", "{capitals}", "{longer}", "{shorter}", " {token}"]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_garbage_is_no_token(machine: FileClient, session: str, method: str, token: str) -> None:
    garbage = token.format(capitals=session.upper(), longer=session + "0", shorter=session[:-1], token=session)
    given = urlencode({"session_token": garbage}, errors="surrogateescape")
    query, body = (f"?{given}", "") if method == "GET" else ("", given)
    assert_refused(machine.generic(method, f"/{query}", body, content_type=""))


@pytest.mark.parametrize("header", ["Bearer", "Bearer ", "Bearer x", "Basic Ym94OmJveA==", "{token}", "Token {token}"])
def test_other_headers_are_no_token(machine: FileClient, session: str, header: str) -> None:
    assert_refused(machine.generic("GET", "/", headers={"Authorization": header.format(token=session)}))


@pytest.mark.parametrize("body", ['{"session_token": ["x"]}', '{"session_token": {}}', '{"session_token": 5}', "[]"])
def test_token_of_another_type_is_refused(machine: FileClient, box: Client, body: str) -> None:
    response = machine.generic("POST", "/", body, content_type="application/json")
    assert response.status_code in (400, 401)
    assert response.json()["success"] is False


# --- client_name beside it ---------------------------------------------------------------------------------------


def test_name_of_the_client_may_stand_beside_the_token(as_box: FileClient) -> None:
    assert_listed(as_box.send("GET", "/", {"client_name": "box"}))


@pytest.mark.parametrize("name", ["reader", "BOX", "stranger", "", " box"])
def test_name_that_does_not_fit_is_refused(as_box: FileClient, reader: Client, name: str) -> None:
    assert_refused(as_box.send("GET", "/", {"client_name": name}))


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_name_in_the_body_that_does_not_fit_is_refused(as_box: FileClient, method: str) -> None:
    assert_refused(as_box.send(method, "/" if method == "POST" else "/1", {"client_name": "reader"}))


@pytest.mark.parametrize("place", ["query", "header"])
def test_name_in_the_body_has_to_fit_a_token_elsewhere(machine: FileClient, session: str, place: str) -> None:
    path = f"/?session_token={session}" if place == "query" else "/"
    headers = {} if place == "query" else {"Authorization": f"Bearer {session}"}
    assert_refused(machine.generic("POST", path, "client_name=reader", content_type="", headers=headers))


# --- Ends --------------------------------------------------------------------------------------------------------


def test_session_times_out(as_box: FileClient) -> None:
    Session.objects.update(expires_at=timezone.now())
    assert_refused(as_box.send("GET", "/"), TIMED_OUT)


def test_use_does_not_prolong_a_session(as_box: FileClient) -> None:
    before = Session.objects.get().expires_at
    assert_listed(as_box.send("GET", "/"))
    assert Session.objects.get().expires_at == before


def test_ended_session_is_found_no_more(as_box: FileClient) -> None:
    assert Session.objects.all().end()
    assert_refused(as_box.send("GET", "/"))


def test_session_ends_once(as_box: FileClient) -> None:
    session = Session.objects.get()
    assert [clients.end_session(session, actor="test") for _ in range(2)] == [True, False]


def test_disabled_client_has_no_session(as_box: FileClient, box: Client) -> None:
    clients.set_active(box, active=False, actor="test")
    assert_refused(as_box.send("GET", "/"))


def test_sessions_stay_ended_when_the_client_is_enabled_again(as_box: FileClient, box: Client) -> None:
    clients.set_active(box, active=False, actor="test")
    clients.set_active(box, active=True, actor="test")
    assert_refused(as_box.send("GET", "/"))


def test_rotated_key_ends_sessions(as_box: FileClient, box: Client) -> None:
    clients.rotate_key(box, b"another key of 3", actor="test")
    assert_refused(as_box.send("GET", "/"))


def test_sessions_of_others_go_on(as_box: FileClient, as_reader: FileClient, box: Client) -> None:
    clients.rotate_key(box, b"another key of 3", actor="test")
    assert_listed(as_reader.send("GET", "/"))


@pytest.mark.parametrize("end", ["disable", "rotate", "end", "expire"])
def test_session_that_ended_meanwhile_changes_nothing(as_box: FileClient, box: Client, end: str) -> None:
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


def test_hundred_sessions_of_a_client_are_live_and_the_oldest_makes_room(as_box: FileClient, box: Client) -> None:
    with transaction.atomic():
        tokens = [sessions.create_session(box, 3600) for _ in range(100)]
    assert Session.objects.live().count() == 100
    assert_refused(as_box.send("GET", "/"))
    for token in (tokens[0], tokens[-1]):
        as_box.token = token
        assert_listed(as_box.send("GET", "/"))


def test_sessions_of_others_make_no_room(as_reader: FileClient, box: Client) -> None:
    with transaction.atomic():
        for _ in range(101):
            sessions.create_session(box, 3600)
    assert_listed(as_reader.send("GET", "/"))


def test_sessions_that_are_over_take_no_room(as_box: FileClient, box: Client) -> None:
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


# --- What is kept ------------------------------------------------------------------------------------------------


def test_token_is_not_kept(as_box: FileClient) -> None:
    as_box.send("GET", "/")
    out = StringIO()
    call_command("dumpdata", stdout=out)
    assert "files.session" in out.getvalue()
    assert as_box.token not in out.getvalue()


def test_session_knows_who_opened_it(machine: FileClient) -> None:
    machine.answer(machine.challenge(), duration=60)
    session = Session.objects.get()
    assert (session.client.name, session.peer, session.ended_at) == ("box", "127.0.0.1", None)
    assert session.expires_at - session.created_at == timedelta(seconds=60)


def test_session_leaves_no_history(as_box: FileClient) -> None:
    assert list(AuditEvent.objects.values_list("action", flat=True)) == ["client.add"]


# --- On a live server --------------------------------------------------------------------------------------------

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


def post(server: Server, path: str, **given: Any) -> Answer:
    status, body, _ = request(server, "POST", path, urlencode(given))
    return status, json.loads(body)


def answering(server: Server, name: str, key: bytes) -> partial[Answer]:
    """The right answer to a new challenge, ready to be sent."""
    challenge = post(server, "/auth", client_name=name)[1]["challenge"]
    return partial(
        post,
        server,
        "/auth_verify",
        client_name=name,
        id=challenge["id"],
        encrypted_text=encrypt_challenge(key, challenge),
    )


def at_once(racers: Sequence[Callable[[], Any]]) -> list[Any]:
    """All start when the last is ready."""
    barrier = Barrier(len(racers))

    def race(racer: Callable[[], Any]) -> Any:
        barrier.wait()
        return racer()

    with ThreadPoolExecutor(len(racers)) as pool:
        return list(pool.map(race, racers))


def tokens_of(answers: list[Answer]) -> list[str]:
    return [body["session"]["token"] for _, body in answers if body["success"]]


def live(server: Server, tokens: list[str]) -> list[str]:
    """Those that are good now."""
    return [token for token in tokens if request(server, "GET", f"/?session_token={token}")[0] == 200]


class Staff:
    """An administrator with a browser."""

    def __init__(self, server: Server) -> None:
        self.server, self.cookies = server, SimpleCookie()
        self.open("GET", "/admin/login/")
        assert self.open("POST", "/admin/login/", username="root", password=PASSWORD)[0] == 302

    def open(self, method: str, path: str, **given: str) -> tuple[int, str]:
        csrf = {"csrfmiddlewaretoken": self.cookies["csrftoken"].value} if method == "POST" else {}
        cookies = "; ".join(f"{name}={morsel.value}" for name, morsel in self.cookies.items())
        headers = {"Cookie": cookies, "Content-Type": "application/x-www-form-urlencoded", "Referer": self.server.url}
        status, body, cookie = request(self.server, method, path, urlencode(csrf | given), **headers)
        self.cookies.update(cookie)
        return status, body

    def add_client(self, name: str) -> tuple[str, bytes]:
        """Its number and its key."""
        status, page = self.open("POST", "/admin/files/client/add/", name=name, rights="WRITE")
        found = re.search(r"/admin/files/client/([0-9]+)/change/.*<code>([0-9a-f]{64})</code>", page)
        assert (status, bool(found)) == (200, True)
        assert found is not None
        return found[1], bytes.fromhex(found[2])

    def act(self, action: str, number: str) -> tuple[int, str]:
        return self.open("POST", "/admin/files/client/", action=action, _selected_action=number)


@pytest.fixture(scope="module")
def staff(server: Server) -> Staff:
    return Staff(server)


def test_one_of_many_answers_to_a_challenge_opens_a_session(server: Server, staff: Staff) -> None:
    _, key = staff.add_client("parallel")
    answers = at_once([answering(server, "parallel", key)] * RACERS)
    refused = (200, {"success": False, "error": NO_MATCH, "message": NO_MATCH})
    assert sum(answer == refused for answer in answers) == RACERS - 1
    assert len(live(server, tokens_of(answers))) == 1


def test_many_answers_to_challenges_of_their_own_open_as_many_sessions(server: Server, staff: Staff) -> None:
    _, key = staff.add_client("many")
    answers = at_once([answering(server, "many", key) for _ in range(RACERS)])
    assert len(set(live(server, tokens_of(answers)))) == RACERS


@pytest.mark.parametrize("action", ["rotate", "disable", "end_sessions"])
def test_no_session_of_before_outlives_what_staff_do(server: Server, staff: Staff, action: str) -> None:
    number, key = staff.add_client(f"racing-{action}")
    before = tokens_of([answering(server, f"racing-{action}", key)() for _ in range(3)])
    assert live(server, before) == before
    at_once([partial(staff.act, action, number), *[partial(live, server, before)] * 9])
    assert live(server, before) == []


@pytest.mark.parametrize("action", ["rotate", "disable"])
def test_answers_beside_what_staff_do_leave_no_live_session(server: Server, staff: Staff, action: str) -> None:
    number, key = staff.add_client(f"beside-{action}")
    racers: list[Callable[[], Any]] = []
    for _ in range(5):
        racers += [answering(server, f"beside-{action}", key) for _ in range(3)]
        racers += [partial(staff.act, action, number)]
    done = at_once(racers)
    assert {status for status, _ in done} <= {200, 302}
    opened = tokens_of([answer for answer in done if isinstance(answer[1], dict)])
    assert live(server, opened) == []
    assert tokens_of([answering(server, f"beside-{action}", key)()]) == []


def test_one_of_many_new_keys_is_good(server: Server, staff: Staff) -> None:
    number, _ = staff.add_client("keys")
    pages = at_once([partial(staff.act, "rotate", number)] * 20)
    assert Counter(status for status, _ in pages) == {200: 20}
    keys = [bytes.fromhex(found) for _, page in pages for found in re.findall("<code>([0-9a-f]{64})</code>", page)]
    assert len(set(keys)) == 20
    assert len(tokens_of([answering(server, "keys", key)() for key in keys])) == 1


@pytest.mark.parametrize("content_type", ["text/plain", "application/json", "multipart/form-data; boundary=x"])
def test_large_body_without_a_token_is_refused_before_it_is_sent(server: Server, content_type: str) -> None:
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:
        connection.putrequest("POST", "/")
        connection.putheader("Content-Type", content_type)
        connection.putheader("Content-Length", str(2**20 + 1))
        connection.endheaders()
        answer = connection.getresponse()
        told = {"success": False, "error": IN_LARGE_BODY, "message": IN_LARGE_BODY}
        assert (answer.status, json.loads(answer.read())) == (401, told)
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="files"'

"""The log of requests: ids, one line for what staff should know, and never a secret."""

import json
import logging
import re
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django.urls import path
from django.utils.functional import SimpleLazyObject

from accounts import bans
from accounts.models import User
from accounts.oidc.flow import CallbackView
from crates.mirror import incidents
from crates.mirror.models import Incident
from files import clients
from registry_site.errors import Invalid, Unavailable
from registry_site.http import error_handlers, request_log
from registry_site.models import AuditEvent
from tests.support import packing
from tests.support.admin import run_action
from tests.support.app_keys import sign_empty_request
from tests.support.cast import PASSWORD, CargoClient
from tests.support.file_clients import KEY, FileClient, LiveFileClient
from tests.support.servers import Server, running

PROXY = "10.0.0.1"


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[dict[str, Any]]]:
    """A function that returns the fields of all lines so far, at the level that is the default."""
    caplog.set_level(logging.INFO)
    return lambda: [record.fields for record in caplog.records if hasattr(record, "fields")]


Lines = Callable[[], list[dict[str, Any]]]


# --- Ids ---------------------------------------------------------------------------------------------------------


def id_of_answer(forwarded: str, peer: str) -> str:
    answer = Client().get("/health", headers={"X-Request-ID": forwarded}, REMOTE_ADDR=peer)
    return answer["X-Request-ID"]


@pytest.mark.django_db
def test_each_answer_has_an_id() -> None:
    client = CargoClient()
    paths = ("/", "/nope", "/health", "/static/nope.css", "/api/v1/crates?q=x", "/login", "/metrics", "/17")
    ids = [client.get(path)["X-Request-ID"] for path in paths]
    assert all(re.fullmatch("[0-9a-f]{32}", request_id) for request_id in ids)
    assert len(set(ids)) == len(ids)


@pytest.mark.django_db
def test_id_of_a_trusted_proxy_is_taken_over(settings: Any) -> None:
    settings.TRUSTED_PROXIES = f"{PROXY}/32"
    assert id_of_answer("Abc-1.2_345", PROXY) == "Abc-1.2_345"


@pytest.mark.django_db
def test_other_ids_are_replaced(settings: Any) -> None:
    settings.TRUSTED_PROXIES = f"{PROXY}/32"
    cases = [("abcdefgh", "192.0.2.1"), ("short", PROXY), ("a" * 65, PROXY), ("abcdefgh\tx", PROXY), ("é" * 8, PROXY)]
    assert [case for case in cases if not re.fullmatch("[0-9a-f]{32}", id_of_answer(*case))] == []


def test_audit_event_has_the_id_of_its_request(as_alice: CargoClient) -> None:
    answer = as_alice.publish(packing.body())
    assert AuditEvent.objects.get(action="crate.publish").request_id == answer["X-Request-ID"]


def test_change_outside_of_a_request_has_no_id(alice: User) -> None:
    bans.ban(alice, actor=None)
    assert AuditEvent.objects.get(action="user.ban").request_id == ""


# --- Refusals ----------------------------------------------------------------------------------------------------


def test_refused_mutation_is_one_line(as_alice: CargoClient, lines: Lines) -> None:
    assert as_alice.delete("/api/v1/crates/demo/1.0.0/yank?token=hunter2").status_code == 404
    (line,) = lines()
    assert line.pop("duration_ms") >= 0
    assert line == {
        "event": "refused",
        "method": "DELETE",
        "path": "/api/v1/crates/demo/1.0.0/yank",
        "status": 404,
        "code": "missing",
        "user": "alice",
        "ip": "127.0.0.1",
    }


def test_refusal_with_status_200_is_a_line(db: None, lines: Lines) -> None:
    assert FileClient("box", KEY).send("POST", "/auth_verify", {"client_name": "box"}).status_code == 200
    assert [(line["event"], line["status"], line["code"]) for line in lines()] == [("refused", 200, "invalid")]


def test_refused_read_is_a_line_for_debugging(
    anonymous: CargoClient, lines: Lines, caplog: pytest.LogCaptureFixture
) -> None:
    assert anonymous.get("/api/v1/crates/demo/owners").status_code == 401
    assert lines() == []
    caplog.set_level(logging.DEBUG, "registry_site")
    anonymous.get("/api/v1/crates/demo/owners")
    assert [line["event"] for line in lines()] == ["refused"]


def test_refused_change_by_get_is_a_line(anonymous: CargoClient, lines: Lines) -> None:
    for change in ("/logout", "/replace_token"):
        assert anonymous.get(change, headers={"Origin": "https://evil.example"}).status_code == 403
    assert [f"{line['event']} {line['path']}" for line in lines()] == ["refused /logout", "refused /replace_token"]


def test_answered_requests_are_no_lines(anonymous: CargoClient, lines: Lines) -> None:
    assert [anonymous.get(path).status_code for path in ("/health", "/api/v1/crates?q=x")] == [200, 200]
    assert lines() == []


def test_unknown_path_is_not_logged(anonymous: CargoClient, lines: Lines) -> None:
    anonymous.post("/my-token-is-hunter2")
    assert [(line["event"], line["path"]) for line in lines()] == [("refused", None)]


def test_token_in_a_path_is_masked(anonymous: CargoClient, lines: Lines, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "registry_site")
    anonymous.get("/v1/user/email/verify/hunter2")
    assert [line["path"] for line in lines()] == ["/v1/user/email/verify/…"]


def test_refused_form_of_another_site_is_a_line(root: User, lines: Lines) -> None:
    assert Client(enforce_csrf_checks=True).post("/admin/login/", {"username": "root"}).status_code == 403
    assert [(line["event"], line["path"], line["status"]) for line in lines()] == [("refused", "/admin/login/", 403)]


def test_refusal_of_a_page_has_its_code(root: User, settings: Any, lines: Lines) -> None:
    settings.MAX_LOGIN_FAILURES = 1
    form = {"username": "root", "password": "hunter2"}
    statuses = [Client().post("/admin/login/", form).status_code for _ in range(2)]
    assert statuses == [200, 429]
    assert [(line["event"], line.get("code")) for line in lines()] == [
        ("sign_in_failed", None),
        ("refused", "too_many"),
    ]


def test_unread_session_is_not_looked_up(rf: RequestFactory) -> None:
    def fail() -> User:
        raise AssertionError("a query for the line of the log")

    request = rf.get("/")
    request.user = SimpleLazyObject(fail)  # type: ignore[assignment]
    assert request_log.user_of(request) is None


# --- Sign-ins and changes ----------------------------------------------------------------------------------------


def sign_in(password: str, path: str = "/login") -> Any:
    return Client().post(path, {"username": "alice", "password": password}, content_type="application/json")


@pytest.mark.django_db(transaction=True)
def test_good_sign_in_is_one_line(alice: User, lines: Lines) -> None:
    assert sign_in(PASSWORD).status_code == 200
    assert [(line["event"], line["actor"], line["ip"]) for line in lines()] == [("user.log_in", "alice", "127.0.0.1")]


def test_bad_sign_in_is_one_line(alice: User, lines: Lines) -> None:
    assert sign_in("hunter2").status_code == 401
    (line,) = lines()
    assert (line["event"], line["account"], line["code"]) == ("sign_in_failed", "alice", "wrong_password")


def test_bad_sign_in_of_staff_is_one_line(root: User, lines: Lines) -> None:
    assert Client().post("/admin/login/", {"username": "root", "password": "hunter2"}).status_code == 200
    assert [(line["event"], line["account"]) for line in lines()] == [("sign_in_failed", "root")]


def test_password_instead_of_a_name_is_hidden(db: None, lines: Lines) -> None:
    Client().post("/login", {"username": "hunter2 !", "password": "x"}, content_type="application/json")
    assert [line["event"] for line in lines()] == ["sign_in_failed"]
    assert "hunter2" not in repr(lines())


def test_sign_ins_of_file_clients_are_lines(db: None, lines: Lines) -> None:
    clients.add_client("box", KEY, actor="test")
    FileClient("box", KEY).log_in()
    wrong = FileClient("box", bytes(16))
    wrong.answer(wrong.challenge())
    unknown = FileClient("hunter2", KEY)
    unknown.answer(unknown.challenge())
    assert [(line["event"], line["account"]) for line in lines()] == [
        ("client.log_in", "box"),
        ("sign_in_failed", "box"),
        ("sign_in_failed", None),
    ]


@pytest.mark.django_db
def test_failed_openid_sign_in_is_a_line(rf: RequestFactory, lines: Lines) -> None:
    def answer(request: HttpRequest) -> HttpResponse:
        with pytest.raises(Invalid):
            CallbackView().get(request)
        return HttpResponse(status=400)

    request = rf.get("/ktra/api/v1/openid/me?state=hunter2")
    request.session, request.user = SessionStore(), AnonymousUser()
    request_log.RequestLogMiddleware(answer)(request)
    (line,) = lines()
    assert (line["event"], line["door"], line["status"]) == ("sign_in_failed", "openid", 400)
    assert line["cause"].startswith("This sign-in was not begun in this browser")


@pytest.mark.django_db(transaction=True)
def test_ban_and_publish_are_lines(as_alice: CargoClient, as_root: Client, alice: User, lines: Lines) -> None:
    as_alice.publish(packing.body())
    run_action(as_root, "/admin/accounts/user/", "ban", alice, reason="spam")
    assert [(line["event"], line["actor"], line["target"]) for line in lines()] == [
        ("crate.publish", "alice", "demo@1.0.0"),
        ("user.ban", "root", "alice"),
    ]


@pytest.mark.django_db(transaction=True)
def test_changes_by_commands_are_no_lines(alice: User, lines: Lines) -> None:
    bans.ban(alice, actor=None)
    assert lines() == []


@pytest.mark.django_db
def test_incident_of_the_mirror_is_a_line(lines: Lines) -> None:
    incidents.record(Incident.Kind.CHANGED, "serde", "detail")
    assert lines() == [{"event": "mirror.incident", "kind": "changed", "subject": "serde", "detail": "detail"}]


# --- Slow requests and crashes -----------------------------------------------------------------------------------


def crash(request: HttpRequest) -> HttpResponse:
    raise ZeroDivisionError


def unavailable(request: HttpRequest) -> HttpResponse:
    raise Unavailable("The disk is full.")


urlpatterns = [path("crash", crash), path("unavailable", unavailable)]
handler500 = error_handlers.server_error


@pytest.mark.django_db
def test_slow_request_is_a_warning(lines: Lines, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    assert request_log.SLOW_SECONDS == 1
    monkeypatch.setattr(request_log, "SLOW_SECONDS", -1)
    Client().get("/health")
    assert [(line["event"], line["path"], line["status"]) for line in lines()] == [("slow", "/health", 200)]
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.django_db
@pytest.mark.urls(__name__)
def test_failure_of_a_read_is_a_warning(lines: Lines, caplog: Any) -> None:
    assert Client().get("/unavailable").status_code == 503
    fields = [(line["event"], line["code"], line["cause"]) for line in lines()]
    assert fields == [("failed", "unavailable", "The disk is full.")]
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.django_db
def test_full_disk_is_named_as_the_cause(as_alice: CargoClient, settings: Any, lines: Lines) -> None:
    settings.MIN_FREE_SPACE = 10**15
    assert as_alice.publish(packing.body()).status_code == 503
    (line,) = [line for line in lines() if line["event"] == "failed"]
    assert "too little free space" in line["cause"]


@pytest.mark.django_db
@pytest.mark.urls(__name__)
def test_crash_is_one_line_with_its_cause(lines: Lines, caplog: Any) -> None:
    answer = Client(raise_request_exception=False).get("/crash?token=hunter2")
    assert answer.status_code == 500
    (record,) = caplog.records
    assert (record.levelname, record.exc_info[0]) == ("ERROR", ZeroDivisionError)
    assert [(line["event"], line["path"], line["status"]) for line in lines()] == [("crash", "/crash", 500)]
    assert "hunter2" not in f"{caplog.text} {lines()}"


@pytest.mark.django_db
def test_crash_outside_of_the_middleware_is_logged(monkeypatch: pytest.MonkeyPatch, lines: Lines) -> None:
    def fail(*args: Any) -> str:
        raise ZeroDivisionError

    monkeypatch.setattr("registry_site.http.client_address.resolve_client_ip", fail)
    assert Client(raise_request_exception=False).get("/health").status_code == 500
    assert [line["event"] for line in lines()] == ["crash"]


# --- A running server --------------------------------------------------------------------------------------------


def ask(server: Server, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, str, str]:
    """Send a request → (status, id of the answer, body)."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        if not isinstance(body, bytes):
            headers["Content-Type"] = "application/json"
            body = json.dumps(body).encode()
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        text = answer.read().decode()
        return answer.status, answer.headers["X-Request-ID"], text
    finally:
        connection.close()


def test_log_of_a_server_is_json_without_secrets(tmp_path: Path) -> None:
    settings = {"REGISTRY_LOG_FORMAT": "json", "REGISTRY_LOG_LEVEL": "debug"}
    with running(tmp_path / "data", **settings, REGISTRY_METRICS_TOKEN="hunter2-metrics") as server:
        token = server.sign_up("alice")
        log_in = {"username": "alice", "password": PASSWORD}
        session = json.loads(ask(server, "POST", "/v1/user/login", {"login": "alice", "password": PASSWORD})[2])
        jwt = session["data"]["token"]
        backups = json.loads(ask(server, "POST", "/api/stable/auth/login", log_in)[2])["data"]["token"]
        cookie = open_browser_session(server, log_in)
        pair = json.loads(ask(server, "POST", "/settings/appids", {"type": "ALL"}, Cookie=cookie, Origin=server.url)[2])
        signed = sign_empty_request(pair)
        machine = LiveFileClient(server, "box")
        _, publish_id, _ = ask(server, "PUT", "/api/v1/crates/new", packing.body(), Authorization=token)
        answers = [
            ask(server, "PUT", "/api/v1/crates/new", b"junk", Authorization=token),
            ask(server, "PUT", "/api/v1/crates/new?token=hunter2-query", b"", Authorization="hunter2-header"),
            ask(server, "DELETE", "/api/v1/crates/none/1.0.0/yank", Authorization=token),
            ask(server, "POST", "/login", {"username": "alice", "password": "hunter2-password"}),
            ask(server, "POST", "/ktra/api/v1/login/alice", {"password": "hunter2-password"}),
            ask(server, "DELETE", "/v1/user/ban/alice", Authorization=f"Bearer {jwt}"),
            ask(server, "POST", "/v1/user/token/verify", {"token": "hunter2-jwt"}),
            ask(server, "GET", "/api/stable/auth/user/whoami", Authorization=f"Bearer {backups}x"),
            ask(server, "PATCH", "/settings/profile", {"username": "Ä"}, Token=signed),
            ask(server, "GET", "/v1/user/email/verify/hunter2-link"),
            ask(server, "POST", "/hunter2-path"),
            ask(server, "GET", "/metrics", Authorization="Bearer hunter2-metrics"),
        ]
        machine.send("POST", "/", path="/etc/passwd", serve_path="x")
        machine.send("GET", "/", count="junk")
        stored_id = server.manage("shell", "-v0", "-c", PRINT_ID)
        log = server.log.read_text()
    lines = [json.loads(line) for line in log.partition(" …\n")[2].splitlines()]

    secrets = [
        token,
        jwt,
        backups,
        cookie.partition("=")[2],
        pair["appsecret"],
        signed,
        machine.token,
        PASSWORD,
        "hunter2",
    ]
    assert [line for line in lines if any(secret in str(line) for secret in [*secrets, PASSWORD, "hunter2"])] == []

    events_by_id = {line["request_id"]: line["event"] for line in lines if "request_id" in line}
    assert events_by_id[publish_id] == "crate.publish"
    assert stored_id == publish_id
    refused = {request_id: status for status, request_id, _ in answers if status >= 400}
    assert len(refused) >= 10
    assert [status for request_id, status in refused.items() if request_id not in events_by_id] == []


PRINT_ID = """
from registry_site.models import AuditEvent
print(AuditEvent.objects.get(action="crate.publish").request_id)
"""


def open_browser_session(server: Server, log_in: dict[str, str]) -> str:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        connection.request("POST", "/login", json.dumps(log_in), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        cookies = answer.headers.get_all("Set-Cookie") or []
        return next(cookie.partition(";")[0] for cookie in cookies if cookie.startswith("registry_session="))
    finally:
        connection.close()

"""`POST /auth` and `POST /auth_verify`: encodings of requests, sessions, refusals and the rate limit."""

import base64
import json
import re
import secrets
import subprocess
import time
from collections.abc import Callable
from textwrap import wrap
from typing import Any
from urllib.parse import quote_from_bytes, unquote, urlencode

import pytest
from django.apps import apps
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart

from files import ciphers, clients, handshake
from files.models import AnsweredChallenge, Client, Session
from tests.support.file_clients import KEY, READER_KEY, FileClient, encrypt_challenge, failure
from tests.support.headers import comparable_headers

FORM = "application/x-www-form-urlencoded"
NO_NAME = "No such client ''"
INCOMPLETE = "Response to auth handshake should contain id, encrypted_text"
NO_MATCH = "No matching handshake found for response"
TIMED_OUT = "Handshake timedout"
FAILED = "Handshake challenge response failed"
BAD_DURATION = "Invalid duration"


def assert_refused(response: Any, message: str) -> None:
    assert (response.status_code, response.json()) == (200, failure(message))


def outcome(response: Any) -> str:
    """Return the message of a refusal, or `opened`; check the shape of either."""
    body = response.json()
    if body["success"]:
        assert_opened(response)
        return "opened"
    assert_refused(response, body["message"])
    return str(body["message"])


def assert_opened(response: Any, duration: int = 3600) -> None:
    body = response.json()
    token = body.get("session", {}).get("token", "")
    assert (response.status_code, body) == (200, {"success": True, "session": {"token": token, "duration": duration}})
    assert re.fullmatch("[0-9a-f]{32}", token)
    assert response["Cache-Control"] == "no-store"


def form(fields: dict[str, Any]) -> tuple[Any, str]:
    return urlencode(fields), FORM


def untyped(fields: dict[str, Any]) -> tuple[Any, str]:
    return urlencode(fields), ""


def mistyped(fields: dict[str, Any]) -> tuple[Any, str]:
    return urlencode(fields), "text/plain"


def multipart(fields: dict[str, Any]) -> tuple[Any, str]:
    return encode_multipart(BOUNDARY, fields), MULTIPART_CONTENT


def as_json(fields: dict[str, Any]) -> tuple[Any, str]:
    return json.dumps(fields), "application/json"


BODIES = [form, untyped, mistyped, multipart, as_json]


# --- POST /auth --------------------------------------------------------------------------------------------------


def test_challenge_has_the_documented_shape(machine: FileClient) -> None:
    response = machine.send("POST", "/auth", {"client_name": "box"})
    body = response.json()
    assert (response.status_code, response["Content-Type"]) == (200, "application/json")
    assert response["Cache-Control"] == "no-store"
    random = {name: body["challenge"][name] for name in ("id", "text", "cipher_iv")}
    assert body == {"success": True, "challenge": {**random, "duration": 30, "cipher": "AES_CBC"}}
    assert re.fullmatch("[0-9a-f]{32}", random["id"])
    assert re.fullmatch("[0-9a-f]{64}", random["text"])
    assert re.fullmatch("[A-Za-z0-9]{16}", random["cipher_iv"])


def test_challenge_is_requested_in_any_body(machine: FileClient) -> None:
    for encode in BODIES:
        body, content_type = encode({"client_name": "box"})
        challenge = machine.generic("POST", "/auth", body, content_type=content_type).json()["challenge"]
        assert_opened(machine.answer(challenge))


def test_challenge_is_requested_in_the_query(machine: FileClient) -> None:
    assert_opened(machine.answer(machine.generic("POST", "/auth?client_name=box").json()["challenge"]))


def test_body_wins_over_the_query(machine: FileClient) -> None:
    response = machine.send("POST", "/auth?client_name=reader", {"client_name": "box"})
    assert_opened(machine.answer(response.json()["challenge"]))


def test_last_of_several_values_counts(machine: FileClient) -> None:
    response = machine.generic("POST", "/auth", "client_name=reader&client_name=box", content_type="")
    assert_opened(machine.answer(response.json()["challenge"]))


def test_challenge_needs_a_name(machine: FileClient) -> None:
    for fields in ({}, {"client_name": ""}, {"name": "box"}):
        assert_refused(machine.send("POST", "/auth", fields), NO_NAME)


def test_challenges_are_all_different(db: None) -> None:
    challenges = [handshake.create_challenge("box") for _ in range(1000)]
    assert {len({getattr(each, part) for each in challenges}) for part in ("id", "text", "iv")} == {1000}


def test_challenge_states_its_duration(machine: FileClient, settings: Any) -> None:
    settings.FILE_CHALLENGE_SECONDS = 5
    assert machine.challenge()["duration"] == 5


def test_challenge_takes_no_query(machine: FileClient, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        for name in ("box", "stranger"):
            machine.send("POST", "/auth", {"client_name": name})


def test_handshake_is_only_posted(machine: FileClient) -> None:
    for path in ("/auth", "/auth_verify"):
        for method in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS"):
            response = machine.send(method, path, {"client_name": "box"})
            assert (response.status_code, response["Allow"]) == (405, "POST")


# --- POST /auth_verify: encodings ----------------------------------------------------------------------------------


def test_raw_answer_is_accepted_in_any_form(machine: FileClient) -> None:
    for encode in (form, untyped, mistyped):
        challenge = machine.challenge()
        fields = {"client_name": "box", "id": challenge["id"], "encrypted_text": encrypt_challenge(KEY, challenge)}
        body, content_type = encode(fields)
        assert_opened(machine.generic("POST", "/auth_verify", body, content_type=content_type))


def test_encoded_answer_is_accepted_in_any_body(machine: FileClient) -> None:
    for encode in BODIES:
        for name in ("hex", "base64"):
            challenge = machine.challenge()
            text = unquote(ENCODINGS[name](encrypt_challenge(KEY, challenge)))
            body, content_type = encode({"client_name": "box", "id": challenge["id"], "encrypted_text": text})
            assert_opened(machine.generic("POST", "/auth_verify", body, content_type=content_type))


def challenge_where(machine: FileClient, condition: Callable[[bytes], bool]) -> dict[str, Any]:
    """Return a challenge whose right answer fulfils a condition."""
    challenges = iter(machine.challenge, None)
    return next(challenge for challenge in challenges if condition(encrypt_challenge(KEY, challenge)))


def answer_in_query(machine: FileClient, challenge: dict[str, Any], answer: Any) -> Any:
    parameters = {"client_name": "box", "id": challenge["id"], "encrypted_text": answer}
    return machine.generic("POST", f"/auth_verify?{urlencode(parameters)}")


def test_answer_is_accepted_in_the_query(machine: FileClient) -> None:
    for encode in (bytes, bytes.hex):
        challenge = challenge_where(machine, lambda raw: 0 not in raw)
        assert_opened(answer_in_query(machine, challenge, encode(encrypt_challenge(KEY, challenge))))


def test_null_byte_in_an_answer_is_accepted(machine: FileClient) -> None:
    """More than a fifth of all right answers have one."""
    assert_opened(machine.answer(challenge_where(machine, lambda raw: 0 in raw)))
    challenge = challenge_where(machine, lambda raw: 0 in raw)
    assert_opened(answer_in_query(machine, challenge, encrypt_challenge(KEY, challenge)))


ENCODINGS: dict[str, Callable[[bytes], str]] = {
    "raw": lambda raw: quote_from_bytes(raw, safe=""),
    "raw in small escapes": lambda raw: "".join(f"%{byte:02x}" for byte in raw),
    "hex": lambda raw: raw.hex(),
    "upper hex": lambda raw: raw.hex().upper(),
    "base64": lambda raw: quote_from_bytes(base64.b64encode(raw), safe=""),
    "base64 without padding": lambda raw: quote_from_bytes(base64.b64encode(raw).rstrip(b"="), safe=""),
    "url-safe": lambda raw: base64.urlsafe_b64encode(raw).decode(),
    "url-safe without padding": lambda raw: base64.urlsafe_b64encode(raw).rstrip(b"=").decode(),
    "base64 in lines": lambda raw: quote_from_bytes("\r\n".join(wrap(base64.b64encode(raw).decode(), 64)).encode()),
}


def openssl(key: bytes, challenge: dict[str, Any], *options: str) -> bytes:
    """Return the answer of `openssl enc`, which pads it by PKCS#7 without `-nopad`."""
    iv = challenge["cipher_iv"].encode().hex()
    command = ["openssl", "enc", f"-aes-{len(key) * 8}-cbc", "-K", key.hex(), "-iv", iv, *options]
    done = subprocess.run(command, input=challenge["text"].encode(), stdout=subprocess.PIPE, check=True)
    return bytes(done.stdout)


@pytest.mark.parametrize("cipher", [encrypt_challenge, openssl])
def test_answer_is_accepted_in_each_encoding(
    machine: FileClient, cipher: Callable[[bytes, dict[str, Any]], bytes]
) -> None:
    outcomes = {}
    for name, encode in ENCODINGS.items():
        challenge = machine.challenge()
        body = f"client_name=box&id={challenge['id']}&encrypted_text={encode(cipher(KEY, challenge))}"
        outcomes[name] = outcome(machine.generic("POST", "/auth_verify", body, content_type=""))
    assert outcomes == dict.fromkeys(ENCODINGS, "opened")


def test_unescaped_plus_is_accepted(machine: FileClient) -> None:
    challenge = challenge_where(machine, lambda raw: b"+" in base64.b64encode(raw))
    text = base64.b64encode(encrypt_challenge(KEY, challenge)).decode()
    body = f"client_name=box&id={challenge['id']}&encrypted_text={text}"
    assert_opened(machine.generic("POST", "/auth_verify", body, content_type=""))


def test_key_of_each_size_opens_a_session(db: None) -> None:
    for size in (16, 24, 32):
        key = secrets.token_bytes(size)
        clients.add_client(f"box{size}", key, actor="test")
        machine = FileClient(f"box{size}", key)
        challenge = machine.challenge()
        assert_opened(machine.answer(challenge, encrypted_text=openssl(key, challenge, "-nopad")))


# --- POST /auth_verify: refusals ----------------------------------------------------------------------------------


def test_challenge_is_answered_once(machine: FileClient) -> None:
    challenge = machine.challenge()
    assert_opened(machine.answer(challenge))
    assert_refused(machine.answer(challenge), NO_MATCH)
    assert Session.objects.count() == 1


def test_wrong_answer_uses_the_challenge_up(machine: FileClient) -> None:
    for wrong in (b"\0" * 64, b"\0" * 80, b"x", "é" * 64, "00" * 64, KEY):
        challenge = machine.challenge()
        assert_refused(machine.answer(challenge, encrypted_text=wrong), FAILED)
        assert_refused(machine.answer(challenge), NO_MATCH)
    assert not Session.objects.exists()


def test_wrong_padding_is_refused(machine: FileClient) -> None:
    challenge = machine.challenge()
    assert_refused(machine.answer(challenge, encrypted_text=encrypt_challenge(KEY, challenge) + b"\0" * 16), FAILED)


def test_truncated_answer_is_refused(machine: FileClient) -> None:
    for size in (16, 48, 63):
        challenge = machine.challenge()
        assert_refused(machine.answer(challenge, encrypted_text=encrypt_challenge(KEY, challenge)[:size]), FAILED)


def test_answer_with_another_key_is_refused(machine: FileClient) -> None:
    challenge = machine.challenge()
    assert_refused(machine.answer(challenge, encrypted_text=encrypt_challenge(READER_KEY, challenge)), FAILED)


def test_challenge_of_another_client_is_refused(machine: FileClient, reader: Client) -> None:
    challenge = FileClient("reader", READER_KEY).challenge()
    assert_refused(machine.answer(challenge), FAILED)
    assert_refused(FileClient("reader", READER_KEY).answer(challenge), NO_MATCH)


def test_answer_for_another_client_is_refused(machine: FileClient, reader: Client) -> None:
    assert_refused(machine.answer(machine.challenge(), client_name="reader"), FAILED)


def test_swapped_answers_are_refused(machine: FileClient) -> None:
    first, second = machine.challenge(), machine.challenge()
    assert_refused(machine.answer(first, id=second["id"]), FAILED)
    assert_refused(machine.answer(second, id=first["id"]), FAILED)


def test_invented_challenge_is_refused(machine: FileClient) -> None:
    challenge = machine.challenge()
    invented = challenge["id"][:11] + "0" * 21
    assert_refused(machine.answer(challenge, id=invented), FAILED)


def test_malformed_id_is_refused(machine: FileClient) -> None:
    ids = ["x", "0", "0" * 31, "0" * 33, "0" * 32 + "\n", "0" * 4000]
    ids += [character * 32 for character in ("g", "A", "é", "-", " ", "\u0660")]
    challenge = machine.challenge()
    outcomes = {malformed: outcome(machine.answer(challenge, id=malformed)) for malformed in ids}
    assert outcomes == dict.fromkeys(ids, NO_MATCH)
    assert not AnsweredChallenge.objects.exists()


def test_id_in_capitals_is_refused(machine: FileClient) -> None:
    challenge = {**machine.challenge()}
    capitals = challenge["id"].upper()
    assert capitals != challenge["id"]
    assert_refused(machine.answer(challenge, id=capitals), NO_MATCH)


def test_expired_challenge_is_refused(machine: FileClient, settings: Any) -> None:
    challenge = machine.challenge()
    settings.FILE_CHALLENGE_SECONDS = -1
    assert_refused(machine.answer(challenge), TIMED_OUT)
    assert not Session.objects.exists()


def issued_in(seconds: float) -> str:
    """Return an id with this time of issue, as anybody can invent it."""
    return f"{int((time.time() + seconds) * 1000):011x}" + secrets.token_hex(11)[1:]


def test_id_of_another_time_is_refused(machine: FileClient) -> None:
    ids = [issued_in(seconds) for seconds in (-32, -3600, 5, 3600, 10**9)]
    ids += ["0" * 32, "f" * 32]
    assert [outcome(machine.answer(machine.challenge(), id=challenge_id)) for challenge_id in ids] == [TIMED_OUT] * 7
    assert not AnsweredChallenge.objects.exists()


def test_clock_slightly_ahead_is_tolerated(machine: FileClient) -> None:
    assert_refused(machine.answer(machine.challenge(), id=issued_in(1)), FAILED)


@pytest.mark.parametrize("missing", ["id", "encrypted_text"])
@pytest.mark.parametrize("value", [None, ""], ids=["missing", "empty"])
def test_incomplete_answer_uses_nothing_up(machine: FileClient, missing: str, value: str | None) -> None:
    challenge = machine.challenge()
    assert_refused(machine.answer(challenge, **{missing: value}), INCOMPLETE)
    assert_opened(machine.answer(challenge))


def test_answer_needs_a_name(machine: FileClient) -> None:
    for value in (None, ""):
        assert_refused(machine.answer(machine.challenge(), client_name=value), NO_NAME)


# --- duration ----------------------------------------------------------------------------------------------------


def test_duration_is_limited_to_a_day(machine: FileClient) -> None:
    durations = {None: 3600, 1: 1, 60: 60, "0060": 60, " 60 ": 60, 86399: 86399, 86400: 86400, 86401: 86400}
    durations |= {"9" * 30: 86400, "9" * 4000: 86400}
    for requested, seconds in durations.items():
        assert_opened(machine.answer(machine.challenge(), duration=requested), seconds)
        session = Session.objects.latest("pk")
        assert (session.expires_at - session.created_at).total_seconds() == seconds


def test_malformed_duration_uses_nothing_up(machine: FileClient) -> None:
    durations = [0, -1, "x", "", " ", "1e18", "NaN", "inf", "1.5", "0x10", "٣", "+5", "²", "-" + "9" * 30]
    challenge = machine.challenge()
    outcomes = {duration: outcome(machine.answer(challenge, duration=duration)) for duration in durations}
    assert outcomes == dict.fromkeys(durations, BAD_DURATION)
    assert_opened(machine.answer(challenge))


def answer_in_json(machine: FileClient, **fields: Any) -> Any:
    challenge = machine.challenge()
    answer = {"client_name": "box", "id": challenge["id"], "encrypted_text": encrypt_challenge(KEY, challenge).hex()}
    return machine.post("/auth_verify", {**answer, **fields}, content_type="application/json")


def test_malformed_duration_in_json_is_refused(machine: FileClient) -> None:
    durations: list[Any] = [0, -1, 1.5, 1e18, True, [60], {"seconds": 60}, "x"]
    assert [outcome(answer_in_json(machine, duration=value)) for value in durations] == [BAD_DURATION] * 8


def test_duration_in_json_is_number_or_digits(machine: FileClient) -> None:
    for duration, seconds in ((60, 60), ("60", 60), (10**30, 86400)):
        assert_opened(answer_in_json(machine, duration=duration), seconds)


def test_durations_are_settings(machine: FileClient, settings: Any) -> None:
    settings.FILE_SESSION_SECONDS, settings.MAX_FILE_SESSION_SECONDS = 10, 20
    assert_opened(machine.answer(machine.challenge()), 10)
    assert_opened(machine.answer(machine.challenge(), duration=30), 20)


# --- Answers do not reveal which clients exist ---------------------------------------------------------------------


def disable(box: Client) -> None:
    clients.set_active(box, active=False, actor="test")


def delete_key(box: Client) -> None:
    box.keys.all().delete()


def rename(box: Client) -> None:
    Client.objects.filter(pk=box.pk).update(name="another")


def write_in_capitals(box: Client) -> None:
    Client.objects.filter(pk=box.pk).update(name="BOX")


CHANGES = [rename, write_in_capitals, disable, delete_key]


def transcript(settings: Any) -> list[Any]:
    """Return every answer to a stranger that calls itself box, without the random parts."""
    machine, answers = FileClient("box", bytes(16)), []

    def note(response: Any) -> Any:
        body = json.loads(re.sub("[A-Za-z0-9]{16,}", "…", response.content.decode()))
        answers.append((response.status_code, comparable_headers(response), body))
        return response

    challenge = note(machine.send("POST", "/auth", {"client_name": "box"})).json()["challenge"]
    for changes in (
        {"encrypted_text": None},
        {"id": None},
        {"id": "x"},
        {"id": issued_in(-100)},
        {"id": issued_in(100)},
        {"duration": 0},
        {"encrypted_text": "x"},
        {},
        {"id": issued_in(0)},
    ):
        note(machine.answer(challenge, **changes))
    challenge = machine.challenge()
    note(machine.answer(challenge))
    note(machine.answer(challenge))
    challenge = machine.challenge()
    settings.FILE_CHALLENGE_SECONDS = -1
    note(machine.answer(challenge))
    note(machine.answer(challenge))
    return answers


@pytest.mark.parametrize("change", CHANGES)
def test_answers_do_not_reveal_clients(box: Client, change: Callable[[Client], None], settings: Any) -> None:
    of_existing_client = transcript(settings)
    settings.FILE_CHALLENGE_SECONDS = 30
    AnsweredChallenge.objects.all().delete()
    change(box)
    assert transcript(settings) == of_existing_client


@pytest.mark.parametrize("change", CHANGES)
def test_right_answer_fails_in_the_same_words(
    machine: FileClient, box: Client, change: Callable[[Client], None]
) -> None:
    change(box)
    assert_refused(machine.answer(machine.challenge()), FAILED)
    assert not Session.objects.exists()


@pytest.mark.parametrize("change", [rename, delete_key])
def test_key_of_null_bytes_opens_nothing(box: Client, change: Callable[[Client], None]) -> None:
    change(box)
    for size in (16, 24, 32):
        machine = FileClient("box", bytes(size))
        assert_refused(machine.answer(machine.challenge()), FAILED)


def test_client_disabled_meanwhile_is_refused(machine: FileClient, box: Client) -> None:
    challenge = machine.challenge()
    disable(box)
    assert_refused(machine.answer(challenge), FAILED)


@pytest.mark.parametrize(
    "event",
    [
        disable,
        lambda box: clients.rotate_key(box, READER_KEY, actor="test"),
        lambda box: Client.objects.update(is_active=False),
    ],
    ids=["disabled", "rotated", "inactive"],
)
def test_client_changed_during_the_answer_is_refused(
    machine: FileClient, box: Client, monkeypatch: pytest.MonkeyPatch, event: Callable[[Client], object]
) -> None:
    """The event comes between the comparison of the answer and the transaction that opens the session."""
    challenge = machine.challenge()
    encrypt = ciphers.encrypt

    def encrypt_and_change(*args: bytes) -> bytes:
        event(box)
        return encrypt(*args)

    monkeypatch.setattr(ciphers, "encrypt", encrypt_and_change)
    assert_refused(machine.answer(challenge), FAILED)
    assert not Session.objects.exists()


def test_enabled_client_opens_a_session(machine: FileClient, box: Client) -> None:
    disable(box)
    clients.set_active(box, active=True, actor="test")
    assert_opened(machine.answer(machine.challenge()))


def test_key_rotated_meanwhile_is_refused(machine: FileClient, box: Client) -> None:
    challenge = machine.challenge()
    clients.rotate_key(box, READER_KEY, actor="test")
    assert_refused(machine.answer(challenge), FAILED)
    assert_opened(FileClient("box", READER_KEY).answer(machine.challenge()))


# --- Hostile requests --------------------------------------------------------------------------------------------

A_FILE = '--x\r\nContent-Disposition: form-data; name="client_name"; filename="f"\r\n\r\nbox\r\n--x--\r\n'
HOSTILE = [
    ("NUL in a name", "client_name=b%00x", FORM),
    ("bare NUL", "client_name=b\0x", FORM),
    ("no UTF-8", "client_name=%ff%fe", FORM),
    ("bare bytes", b"client_name=\xff\xfe", FORM),
    ("surrogate", "client_name=%ed%a0%80", FORM),
    ("broken escape", "client_name=%zz%", FORM),
    ("long name", f"client_name={'x' * 10_000}", FORM),
    ("very long name", f"client_name={'x' * 1_000_000}", FORM),
    ("too long a body", f"client_name={'x' * 1_100_000}", FORM),
    ("many fields", "&".join(["client_name=box"] * 2000), FORM),
    ("nothing but separators", "&=&=&&;", FORM),
    ("NUL in an id", "client_name=box&id=%00&encrypted_text=x", FORM),
    ("NUL in an answer", f"client_name=box&id={'0' * 32}&encrypted_text=%00", FORM),
    ("no UTF-8 in an id", "client_name=box&id=%ff&encrypted_text=x", FORM),
    ("no UTF-8 in a duration", f"client_name=box&id={'0' * 32}&encrypted_text=x&duration=%ff", FORM),
    ("NUL in a duration", f"client_name=box&id={'0' * 32}&encrypted_text=x&duration=%00", FORM),
    ("long answer", f"client_name=box&id={'0' * 32}&encrypted_text={'0' * 1_000_000}", FORM),
    ("list", "[]", "application/json"),
    ("text", '"box"', "application/json"),
    ("null", "null", "application/json"),
    ("no JSON", "{", "application/json"),
    ("deep JSON", "[" * 10_000, "application/json"),
    ("form that says that it is JSON", "client_name=box", "application/json"),
    ("fields of other types", '{"client_name": ["box"], "id": {}, "encrypted_text": 5}', "application/json"),
    ("null fields", '{"client_name": null, "id": null, "encrypted_text": null}', "application/json"),
    ("null duration", '{"client_name": "box", "id": "x", "encrypted_text": "x", "duration": null}', "application/json"),
    ("half a character", '{"client_name": "\\ud800", "id": "x", "encrypted_text": "x"}', "application/json"),
    ("half an answer", '{"client_name": "b", "id": "x", "encrypted_text": "\\ud800"}', "application/json"),
    ("NaN", '{"client_name": NaN, "duration": NaN}', "application/json"),
    ("JSON in another charset", '{"client_name": "box"}'.encode("utf-16"), "application/json"),
    ("multipart without a boundary", "client_name=box", "multipart/form-data"),
    ("broken multipart", "--x\r\nContent-", "multipart/form-data; boundary=x"),
    ("file in place of a name", A_FILE, "multipart/form-data; boundary=x"),
    ("nonsense for a type", "client_name=box", "///;=;"),
]


@pytest.mark.parametrize("path", ["/auth", "/auth_verify"])
def test_hostile_request_is_answered_in_the_dialect(machine: FileClient, path: str) -> None:
    offenders = []
    for name, body, content_type in HOSTILE:
        response = machine.generic("POST", path, body, content_type=content_type)
        answer = response.json()
        is_challenge = path == "/auth" and "challenge" in answer and answer["success"] is True
        if response.status_code not in (200, 400, 413) or not (is_challenge or answer == failure(answer["message"])):
            offenders.append((name, response.status_code, answer))
    assert offenders == []


def test_hostile_query_is_answered_in_the_dialect(machine: FileClient) -> None:
    for path in ("/auth", "/auth_verify"):
        for name in ("%00", "%ff", "\0", "x" * 9000):
            response = machine.generic("POST", path, QUERY_STRING=f"client_name={name}")
            answer = response.json()
            assert response.status_code in (200, 400)
            assert answer["success"] is (path == "/auth" and "challenge" in answer)


def test_body_over_a_mebibyte_is_refused(machine: FileClient) -> None:
    response = machine.send("POST", "/auth", {"client_name": "x" * 2**20})
    message = f"The body has {2**20 + len('client_name=')} bytes; at most {2**20} are taken here."
    assert (response.status_code, response.json()) == (413, failure(message))


def test_raw_answer_in_multipart_is_refused(machine: FileClient) -> None:
    """Django decodes parts as UTF-8, so raw bytes do not come through."""
    challenge = machine.challenge()
    parts = b"".join(
        b'--x\r\nContent-Disposition: form-data; name="' + name + b'"\r\n\r\n' + value + b"\r\n"
        for name, value in (
            (b"client_name", b"box"),
            (b"id", challenge["id"].encode()),
            (b"encrypted_text", b"\xff" * 64),
        )
    )
    response = machine.generic("POST", "/auth_verify", parts + b"--x--\r\n", "multipart/form-data; boundary=x")
    assert_refused(response, FAILED)


# --- Stored rows ---------------------------------------------------------------------------------------------------


def rows() -> dict[str, int]:
    return {model.__name__: model._default_manager.count() for model in apps.get_models()}


def test_answer_stores_challenge_and_session(machine: FileClient) -> None:
    before = rows()
    assert_opened(machine.answer(machine.challenge()))
    assert rows() == {**before, "AnsweredChallenge": 1, "Session": before["Session"] + 1}


def test_expired_challenges_are_deleted(machine: FileClient, settings: Any) -> None:
    settings.FILE_CHALLENGE_SECONDS = 3600
    for age in range(100, 150):
        machine.answer(machine.challenge(), id=issued_in(-age))
    assert AnsweredChallenge.objects.count() == 50
    AnsweredChallenge.objects.update(expires_at="2020-01-01T00:00:00Z")
    machine.answer(machine.challenge())
    assert AnsweredChallenge.objects.count() == 1


def test_refused_ids_are_not_stored(machine: FileClient) -> None:
    for wrong in (issued_in(-100), issued_in(100), "x", "g" * 32):
        machine.answer(machine.challenge(), id=wrong)
    assert not AnsweredChallenge.objects.exists()


# --- Throttling --------------------------------------------------------------------------------------------------


@pytest.fixture
def few(settings: Any) -> None:
    settings.FILE_HANDSHAKES_PER_MINUTE = 3
    settings.TRUSTED_PROXIES = "10.0.0.1"


def send_handshake(machine: FileClient, path: str = "/auth", peer: str = "192.0.2.1", forwarded_for: str = "") -> Any:
    return machine.send(
        "POST", path, {"client_name": "box"}, REMOTE_ADDR=peer, headers={"X-Forwarded-For": forwarded_for}
    )


@pytest.mark.parametrize("path", ["/auth", "/auth_verify"])
@pytest.mark.usefixtures("few")
def test_too_many_handshakes_have_to_wait(machine: FileClient, path: str) -> None:
    assert [send_handshake(machine, path).status_code for _ in range(4)] == [200, 200, 200, 429]
    response = send_handshake(machine, path)
    body = response.json()
    assert body == failure(body["message"])
    assert 0 < int(response["Retry-After"]) <= 60
    assert response["Retry-After"] in body["message"]


@pytest.mark.usefixtures("few")
def test_both_steps_are_counted_together(machine: FileClient) -> None:
    for path in ("/auth", "/auth_verify", "/auth"):
        assert send_handshake(machine, path).status_code == 200
    assert send_handshake(machine, "/auth_verify").status_code == 429


@pytest.mark.usefixtures("few")
def test_other_networks_do_not_wait(machine: FileClient) -> None:
    for _ in range(4):
        send_handshake(machine)
    assert send_handshake(machine, peer="192.0.2.2").status_code == 200


@pytest.mark.usefixtures("few")
def test_networks_behind_a_proxy_count_separately(machine: FileClient) -> None:
    for _ in range(4):
        send_handshake(machine, peer="10.0.0.1", forwarded_for="192.0.2.1")
    assert send_handshake(machine, peer="10.0.0.1", forwarded_for="192.0.2.1").status_code == 429
    assert send_handshake(machine, peer="10.0.0.1", forwarded_for="192.0.2.2").status_code == 200


@pytest.mark.usefixtures("few")
def test_forged_address_is_ignored(machine: FileClient) -> None:
    answers = [send_handshake(machine, forwarded_for=f"198.51.100.{number}").status_code for number in range(4)]
    assert answers == [200, 200, 200, 429]


@pytest.mark.usefixtures("few")
def test_one_ipv6_network_counts_together(machine: FileClient) -> None:
    answers = [send_handshake(machine, peer=f"2001:db8:1:2::{number}").status_code for number in range(1, 5)]
    assert answers == [200, 200, 200, 429]
    assert send_handshake(machine, peer="2001:db8:1:3::1").status_code == 200


@pytest.mark.usefixtures("few")
def test_requests_with_a_session_do_not_wait(machine: FileClient) -> None:
    machine.log_in()
    for _ in range(4):
        send_handshake(machine)
    assert [machine.send("GET", "/").status_code for _ in range(5)] == [200] * 5


def test_malformed_json_is_a_bad_request(machine: FileClient) -> None:
    for body in ("{", '{"client_name": NaN}', "client_name=box", "[" * 10_000):
        assert machine.generic("POST", "/auth", body, content_type="application/json").status_code == 400

"""`POST /auth` and `POST /auth_verify`: every way to ask and to answer, and what gets nobody in."""

import base64
import json
import re
import secrets
import subprocess
import time
from collections.abc import Callable
from textwrap import wrap
from typing import Any
from urllib.parse import quote_from_bytes, urlencode

import pytest
from django.apps import apps
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart

from files import clients, handshake
from files.models import AnsweredChallenge, Client, Session
from tests.support.file_clients import KEY, READER_KEY, FileClient, encrypt_challenge

FORM = "application/x-www-form-urlencoded"
NO_NAME = "No such client ''"
INCOMPLETE = "Response to auth handshake should contain id, encrypted_text"
NO_MATCH = "No matching handshake found for response"
TIMED_OUT = "Handshake timedout"
FAILED = "Handshake challenge response failed"
BAD_DURATION = "Invalid duration"


def failure(message: str) -> dict[str, Any]:
    return {"success": False, "error": message, "message": message}


def assert_refused(response: Any, message: str) -> None:
    assert (response.status_code, response.json()) == (200, failure(message))


def assert_opened(response: Any, duration: int = 3600) -> None:
    body = response.json()
    token = body.get("session", {}).get("token", "")
    assert (response.status_code, body) == (200, {"success": True, "session": {"token": token, "duration": duration}})
    assert re.fullmatch("[0-9a-f]{32}", token)


def form(given: dict[str, Any]) -> tuple[Any, str]:
    return urlencode(given), FORM


def untyped(given: dict[str, Any]) -> tuple[Any, str]:
    return urlencode(given), ""


def mistyped(given: dict[str, Any]) -> tuple[Any, str]:
    return urlencode(given), "text/plain"


def multipart(given: dict[str, Any]) -> tuple[Any, str]:
    return encode_multipart(BOUNDARY, given), MULTIPART_CONTENT


def as_json(given: dict[str, Any]) -> tuple[Any, str]:
    return json.dumps(given), "application/json"


BODIES = [form, untyped, mistyped, multipart, as_json]


# --- POST /auth --------------------------------------------------------------------------------------------------


def test_challenge_has_the_documented_shape(machine: FileClient) -> None:
    response = machine.ask("POST", "/auth", {"client_name": "box"})
    body = response.json()
    assert (response.status_code, response["Content-Type"]) == (200, "application/json")
    given = {name: body["challenge"][name] for name in ("id", "text", "cipher_iv")}
    assert body == {"success": True, "challenge": {**given, "duration": 30, "cipher": "AES_CBC"}}
    assert re.fullmatch("[0-9a-f]{32}", given["id"])
    assert re.fullmatch("[0-9a-f]{64}", given["text"])
    assert re.fullmatch("[A-Za-z0-9]{16}", given["cipher_iv"])


@pytest.mark.parametrize("body", BODIES)
def test_challenge_is_asked_for_in_any_body(machine: FileClient, body: Callable[..., Any]) -> None:
    content, content_type = body({"client_name": "box"})
    challenge = machine.generic("POST", "/auth", content, content_type=content_type).json()["challenge"]
    assert_opened(machine.answer(challenge))


def test_challenge_is_asked_for_in_the_query(machine: FileClient) -> None:
    assert_opened(machine.answer(machine.generic("POST", "/auth?client_name=box").json()["challenge"]))


def test_body_counts_more_than_the_query(machine: FileClient) -> None:
    response = machine.ask("POST", "/auth?client_name=reader", {"client_name": "box"})
    assert_opened(machine.answer(response.json()["challenge"]))


def test_last_of_several_values_counts(machine: FileClient) -> None:
    response = machine.generic("POST", "/auth", "client_name=reader&client_name=box", content_type="")
    assert_opened(machine.answer(response.json()["challenge"]))


@pytest.mark.parametrize("given", [{}, {"client_name": ""}, {"name": "box"}])
def test_challenge_is_for_somebody(machine: FileClient, given: dict[str, str]) -> None:
    assert_refused(machine.ask("POST", "/auth", given), NO_NAME)


def test_challenges_are_all_different(db: None) -> None:
    issued = [handshake.create_challenge("box") for _ in range(1000)]
    assert {len({getattr(one, part) for one in issued}) for part in ("id", "text", "iv")} == {1000}


def test_challenge_says_how_long_it_lasts(machine: FileClient, settings: Any) -> None:
    settings.FILE_CHALLENGE_SECONDS = 5
    assert machine.challenge()["duration"] == 5


def test_challenge_leaves_nothing_behind(machine: FileClient, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        for name in ("box", "stranger"):
            machine.ask("POST", "/auth", {"client_name": name})


@pytest.mark.parametrize("path", ["/auth", "/auth_verify"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
def test_handshake_is_only_posted(machine: FileClient, method: str, path: str) -> None:
    response = machine.ask(method, path, {"client_name": "box"})
    assert (response.status_code, response["Allow"]) == (405, "POST")


# --- POST /auth_verify: ways to say it ---------------------------------------------------------------------------


def test_answer_opens_a_session_of_the_documented_shape(machine: FileClient) -> None:
    assert_opened(machine.answer(machine.challenge()))


@pytest.mark.parametrize("body", [form, untyped, mistyped])
def test_raw_answer_is_taken_in_a_form_of_any_type(machine: FileClient, body: Callable[..., Any]) -> None:
    challenge = machine.challenge()
    content, content_type = body(
        {"client_name": "box", "id": challenge["id"], "encrypted_text": encrypt_challenge(KEY, challenge)}
    )
    assert_opened(machine.generic("POST", "/auth_verify", content, content_type=content_type))


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("writing", ["hex", "base64"])
def test_written_answer_is_taken_in_any_body(machine: FileClient, body: Callable[..., Any], writing: str) -> None:
    challenge = machine.challenge()
    raw = encrypt_challenge(KEY, challenge)
    written = raw.hex() if writing == "hex" else base64.b64encode(raw).decode()
    content, content_type = body({"client_name": "box", "id": challenge["id"], "encrypted_text": written})
    assert_opened(machine.generic("POST", "/auth_verify", content, content_type=content_type))


def challenge_where(machine: FileClient, fits: Callable[[bytes], bool]) -> dict[str, Any]:
    """A challenge whose right answer is so."""
    return next(one for one in iter(machine.challenge, None) if fits(encrypt_challenge(KEY, one)))


def in_the_query(machine: FileClient, challenge: dict[str, Any], answer: Any) -> Any:
    given = {"client_name": "box", "id": challenge["id"], "encrypted_text": answer}
    return machine.generic("POST", f"/auth_verify?{urlencode(given)}")


@pytest.mark.parametrize("writing", ["raw", "hex"])
def test_answer_is_taken_in_the_query(machine: FileClient, writing: str) -> None:
    challenge = challenge_where(machine, lambda raw: 0 not in raw)
    raw = encrypt_challenge(KEY, challenge)
    assert_opened(in_the_query(machine, challenge, raw if writing == "raw" else raw.hex()))


def test_raw_answer_with_a_null_byte_is_taken(machine: FileClient) -> None:
    assert_opened(machine.answer(challenge_where(machine, lambda raw: 0 in raw)))


def test_raw_answer_with_a_null_byte_is_taken_in_the_query(machine: FileClient) -> None:
    """Of all right answers, more than a fifth have one."""
    challenge = challenge_where(machine, lambda raw: 0 in raw)
    assert_opened(in_the_query(machine, challenge, encrypt_challenge(KEY, challenge)))


WRITINGS: dict[str, Callable[[bytes], str]] = {
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
    """What `openssl enc` makes of a challenge: with PKCS#7 padding, unless told otherwise."""
    iv = challenge["cipher_iv"].encode().hex()
    command = ["openssl", "enc", f"-aes-{len(key) * 8}-cbc", "-K", key.hex(), "-iv", iv, *options]
    done = subprocess.run(command, input=challenge["text"].encode(), stdout=subprocess.PIPE, check=True)
    return bytes(done.stdout)


@pytest.mark.parametrize("cipher", [encrypt_challenge, openssl])
@pytest.mark.parametrize("writing", WRITINGS)
def test_answer_is_taken_in_each_writing(
    machine: FileClient, writing: str, cipher: Callable[[bytes, dict[str, Any]], bytes]
) -> None:
    challenge = machine.challenge()
    written = WRITINGS[writing](cipher(KEY, challenge))
    body = f"client_name=box&id={challenge['id']}&encrypted_text={written}"
    assert_opened(machine.generic("POST", "/auth_verify", body, content_type=""))


def test_plus_that_was_not_escaped_is_understood(machine: FileClient) -> None:
    challenge = challenge_where(machine, lambda raw: b"+" in base64.b64encode(raw))
    text = base64.b64encode(encrypt_challenge(KEY, challenge)).decode()
    body = f"client_name=box&id={challenge['id']}&encrypted_text={text}"
    assert_opened(machine.generic("POST", "/auth_verify", body, content_type=""))


@pytest.mark.parametrize("size", [16, 24, 32])
def test_openssl_answers_with_a_key_of_each_size(db: None, size: int) -> None:
    key = secrets.token_bytes(size)
    clients.add_client("box", key, actor="test")
    machine = FileClient("box", key)
    challenge = machine.challenge()
    assert_opened(machine.answer(challenge, encrypted_text=openssl(key, challenge, "-nopad")))


# --- POST /auth_verify: what gets nobody in -----------------------------------------------------------------------


def test_challenge_is_answered_once(machine: FileClient) -> None:
    challenge = machine.challenge()
    assert_opened(machine.answer(challenge))
    assert_refused(machine.answer(challenge), NO_MATCH)
    assert Session.objects.count() == 1


@pytest.mark.parametrize("wrong", [b"\0" * 64, b"\0" * 80, b"x", "é" * 64, "00" * 64, KEY])
def test_wrong_answer_uses_a_challenge_up(machine: FileClient, wrong: Any) -> None:
    challenge = machine.challenge()
    assert_refused(machine.answer(challenge, encrypted_text=wrong), FAILED)
    assert_refused(machine.answer(challenge), NO_MATCH)
    assert not Session.objects.exists()


def test_answer_with_a_wrong_padding_is_refused(machine: FileClient) -> None:
    challenge = machine.challenge()
    assert_refused(machine.answer(challenge, encrypted_text=encrypt_challenge(KEY, challenge) + b"\0" * 16), FAILED)


@pytest.mark.parametrize("size", [16, 48, 63])
def test_beginning_of_the_answer_is_not_enough(machine: FileClient, size: int) -> None:
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


def test_answers_do_not_fit_each_others_challenges(machine: FileClient) -> None:
    one, other = machine.challenge(), machine.challenge()
    assert_refused(machine.answer(one, id=other["id"]), FAILED)
    assert_refused(machine.answer(other, id=one["id"]), FAILED)


def test_challenge_that_nobody_issued_is_refused(machine: FileClient) -> None:
    challenge = machine.challenge()
    made_up = challenge["id"][:11] + "0" * 21
    assert_refused(machine.answer(challenge, id=made_up), FAILED)


@pytest.mark.parametrize(
    "wrong",
    [
        "x",
        "0",
        "g" * 32,
        "0" * 31,
        "0" * 33,
        "A" * 32,
        "é" * 32,
        "-" * 32,
        " " * 32,
        "\u0660" * 32,
        "0" * 32 + "\n",
        "0" * 4000,
    ],
)
def test_malformed_id_is_refused(machine: FileClient, wrong: str) -> None:
    assert_refused(machine.answer(machine.challenge(), id=wrong), NO_MATCH)
    assert not AnsweredChallenge.objects.exists()


def test_id_in_capitals_is_another(machine: FileClient) -> None:
    challenge = {**machine.challenge()}
    capitals = challenge["id"].upper()
    assert capitals != challenge["id"]
    assert_refused(machine.answer(challenge, id=capitals), NO_MATCH)


def test_challenge_ends(machine: FileClient, settings: Any) -> None:
    challenge = machine.challenge()
    settings.FILE_CHALLENGE_SECONDS = -1
    assert_refused(machine.answer(challenge), TIMED_OUT)
    assert not Session.objects.exists()


def issued_in(seconds: float) -> str:
    """The id of a challenge that says so, which anybody can make up."""
    return f"{int((time.time() + seconds) * 1000):011x}" + secrets.token_hex(11)[1:]


@pytest.mark.parametrize("seconds", [-32, -3600, 5, 3600, 10**9])
def test_challenge_of_another_time_is_refused(machine: FileClient, seconds: int) -> None:
    assert_refused(machine.answer(machine.challenge(), id=issued_in(seconds)), TIMED_OUT)
    assert not AnsweredChallenge.objects.exists()


@pytest.mark.parametrize("first", ["0", "f"])
def test_challenge_of_the_end_of_time_is_refused(machine: FileClient, first: str) -> None:
    assert_refused(machine.answer(machine.challenge(), id=first * 32), TIMED_OUT)


def test_clock_a_moment_ahead_is_borne(machine: FileClient) -> None:
    assert_refused(machine.answer(machine.challenge(), id=issued_in(1)), FAILED)


@pytest.mark.parametrize("missing", ["id", "encrypted_text"])
@pytest.mark.parametrize("value", [None, ""], ids=["missing", "empty"])
def test_incomplete_answer_is_told_so_and_uses_nothing_up(machine: FileClient, missing: str, value: str | None) -> None:
    challenge = machine.challenge()
    assert_refused(machine.answer(challenge, **{missing: value}), INCOMPLETE)
    assert_opened(machine.answer(challenge))


@pytest.mark.parametrize("value", [None, ""], ids=["missing", "empty"])
def test_answer_without_a_name_is_told_so(machine: FileClient, value: str | None) -> None:
    assert_refused(machine.answer(machine.challenge(), client_name=value), NO_NAME)


# --- duration ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        (None, 3600),
        (1, 1),
        (60, 60),
        ("0060", 60),
        (" 60 ", 60),
        (86399, 86399),
        (86400, 86400),
        (86401, 86400),
        ("9" * 30, 86400),
        ("9" * 4000, 86400),
    ],
)
def test_session_lasts_as_long_as_asked_up_to_a_day(machine: FileClient, asked: Any, given: int) -> None:
    assert_opened(machine.answer(machine.challenge(), duration=asked), given)
    session = Session.objects.get()
    assert (session.expires_at - session.created_at).total_seconds() == given


@pytest.mark.parametrize(
    "asked", [0, -1, "x", "", " ", "1e18", "NaN", "inf", "1.5", "0x10", "٣", "+5", "²", "-" + "9" * 30]
)
def test_strange_durations_are_refused_and_use_nothing_up(machine: FileClient, asked: Any) -> None:
    challenge = machine.challenge()
    assert_refused(machine.answer(challenge, duration=asked), BAD_DURATION)
    assert_opened(machine.answer(challenge))


@pytest.mark.parametrize("asked", [0, -1, 1.5, 1e18, True, [60], {"seconds": 60}, "x"])
def test_strange_durations_in_json_are_refused(machine: FileClient, asked: Any) -> None:
    challenge = machine.challenge()
    given = {"client_name": "box", "id": challenge["id"], "encrypted_text": encrypt_challenge(KEY, challenge).hex()}
    response = machine.post("/auth_verify", {**given, "duration": asked}, content_type="application/json")
    assert_refused(response, BAD_DURATION)


@pytest.mark.parametrize(("asked", "given"), [(60, 60), ("60", 60), (10**30, 86400)])
def test_durations_in_json_are_numbers_or_digits(machine: FileClient, asked: Any, given: int) -> None:
    challenge = machine.challenge()
    answer = {"client_name": "box", "id": challenge["id"], "encrypted_text": encrypt_challenge(KEY, challenge).hex()}
    response = machine.post("/auth_verify", {**answer, "duration": asked}, content_type="application/json")
    assert_opened(response, given)


def test_durations_are_settings(machine: FileClient, settings: Any) -> None:
    settings.FILE_SESSION_SECONDS, settings.MAX_FILE_SESSION_SECONDS = 10, 20
    assert_opened(machine.answer(machine.challenge()), 10)
    assert_opened(machine.answer(machine.challenge(), duration=30), 20)


# --- Nobody learns who is known ----------------------------------------------------------------------------------


def disabled(box: Client) -> None:
    clients.set_active(box, active=False, actor="test")


def keyless(box: Client) -> None:
    box.keys.all().delete()


def unknown(box: Client) -> None:
    Client.objects.filter(pk=box.pk).update(name="another")


def in_capitals(box: Client) -> None:
    Client.objects.filter(pk=box.pk).update(name="BOX")


def transcript(settings: Any) -> list[Any]:
    """All that a stranger who calls itself the box can see, without what is different each time."""
    machine, told = FileClient("box", bytes(16)), []

    def note(response: Any) -> Any:
        body = json.loads(re.sub("[A-Za-z0-9]{16,}", "…", response.content.decode()))
        told.append((response.status_code, dict(response.headers), body))
        return response

    challenge = note(machine.ask("POST", "/auth", {"client_name": "box"})).json()["challenge"]
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
    return told


@pytest.mark.parametrize("standing", [unknown, in_capitals, disabled, keyless])
def test_stranger_sees_no_difference_to_a_known_client(
    box: Client, standing: Callable[[Client], None], settings: Any
) -> None:
    known = transcript(settings)
    settings.FILE_CHALLENGE_SECONDS = 30
    AnsweredChallenge.objects.all().delete()
    standing(box)
    assert transcript(settings) == known


@pytest.mark.parametrize("standing", [unknown, in_capitals, disabled, keyless])
def test_right_answer_is_refused_in_the_same_words(
    machine: FileClient, box: Client, standing: Callable[[Client], None]
) -> None:
    standing(box)
    assert_refused(machine.answer(machine.challenge()), FAILED)
    assert not Session.objects.exists()


@pytest.mark.parametrize("standing", [unknown, keyless])
@pytest.mark.parametrize("size", [16, 24, 32])
def test_key_of_nulls_lets_nobody_in(box: Client, standing: Callable[[Client], None], size: int) -> None:
    standing(box)
    machine = FileClient("box", bytes(size))
    assert_refused(machine.answer(machine.challenge()), FAILED)


def test_client_that_is_disabled_meanwhile_is_refused(machine: FileClient, box: Client) -> None:
    challenge = machine.challenge()
    disabled(box)
    assert_refused(machine.answer(challenge), FAILED)


def test_client_that_is_enabled_again_is_let_in(machine: FileClient, box: Client) -> None:
    disabled(box)
    clients.set_active(box, active=True, actor="test")
    assert_opened(machine.answer(machine.challenge()))


def test_key_that_was_rotated_meanwhile_is_refused(machine: FileClient, box: Client) -> None:
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
@pytest.mark.parametrize(("body", "content_type"), [case[1:] for case in HOSTILE], ids=[case[0] for case in HOSTILE])
def test_hostile_request_is_answered_in_the_dialect(
    machine: FileClient, path: str, body: Any, content_type: str
) -> None:
    response = machine.generic("POST", path, body, content_type=content_type)
    assert response.status_code in (200, 400, 413)
    told = response.json()
    assert told["success"] is (path == "/auth" and "challenge" in told)
    if not told["success"]:
        assert told == failure(told["message"])


@pytest.mark.parametrize("path", ["/auth", "/auth_verify"])
@pytest.mark.parametrize("query", ["client_name=%00", "client_name=%ff", "client_name=\0", "client_name=" + "x" * 9000])
def test_hostile_query_is_answered_in_the_dialect(machine: FileClient, path: str, query: str) -> None:
    response = machine.generic("POST", path, QUERY_STRING=query)
    assert response.status_code in (200, 400)
    told = response.json()
    assert told["success"] is (path == "/auth" and "challenge" in told)


def test_body_over_a_mebibyte_is_refused(machine: FileClient) -> None:
    response = machine.ask("POST", "/auth", {"client_name": "x" * 2**20})
    told = failure(f"The body has {2**20 + len('client_name=')} bytes; at most {2**20} are taken here.")
    assert (response.status_code, response.json()) == (413, told)


def test_raw_answer_is_lost_in_multipart(machine: FileClient) -> None:
    """Only texts come through; it says no, and does not fall over."""
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


# --- What is kept ------------------------------------------------------------------------------------------------


def rows() -> dict[str, int]:
    return {model.__name__: model._default_manager.count() for model in apps.get_models()}


def test_answer_leaves_a_challenge_and_a_session(machine: FileClient) -> None:
    before = rows()
    assert_opened(machine.answer(machine.challenge()))
    assert rows() == {**before, "AnsweredChallenge": 1, "Session": before["Session"] + 1}


def test_challenges_that_are_over_are_forgotten(machine: FileClient, settings: Any) -> None:
    settings.FILE_CHALLENGE_SECONDS = 3600
    for age in range(100, 150):
        machine.answer(machine.challenge(), id=issued_in(-age))
    assert AnsweredChallenge.objects.count() == 50
    AnsweredChallenge.objects.update(expires_at="2020-01-01T00:00:00Z")
    machine.answer(machine.challenge())
    assert AnsweredChallenge.objects.count() == 1


def test_challenges_that_are_refused_by_their_id_leave_nothing(machine: FileClient) -> None:
    for wrong in (issued_in(-100), issued_in(100), "x", "g" * 32):
        machine.answer(machine.challenge(), id=wrong)
    assert not AnsweredChallenge.objects.exists()


# --- Throttling --------------------------------------------------------------------------------------------------


@pytest.fixture
def few(settings: Any) -> None:
    settings.FILE_HANDSHAKES_PER_MINUTE = 3
    settings.TRUSTED_PROXIES = "10.0.0.1"


def beg(machine: FileClient, path: str = "/auth", peer: str = "192.0.2.1", forwarded_for: str = "") -> Any:
    return machine.ask(
        "POST", path, {"client_name": "box"}, REMOTE_ADDR=peer, headers={"X-Forwarded-For": forwarded_for}
    )


@pytest.mark.parametrize("path", ["/auth", "/auth_verify"])
@pytest.mark.usefixtures("few")
def test_network_that_asks_too_often_has_to_wait(machine: FileClient, path: str) -> None:
    assert [beg(machine, path).status_code for _ in range(4)] == [200, 200, 200, 429]
    response = beg(machine, path)
    told = response.json()
    assert told == failure(told["message"])
    assert 0 < int(response["Retry-After"]) <= 60
    assert response["Retry-After"] in told["message"]


@pytest.mark.usefixtures("few")
def test_both_steps_are_counted_together(machine: FileClient) -> None:
    for path in ("/auth", "/auth_verify", "/auth"):
        assert beg(machine, path).status_code == 200
    assert beg(machine, "/auth_verify").status_code == 429


@pytest.mark.usefixtures("few")
def test_other_networks_are_not_held_up(machine: FileClient) -> None:
    for _ in range(4):
        beg(machine)
    assert beg(machine, peer="192.0.2.2").status_code == 200


@pytest.mark.usefixtures("few")
def test_networks_behind_a_proxy_are_told_apart(machine: FileClient) -> None:
    for _ in range(4):
        beg(machine, peer="10.0.0.1", forwarded_for="192.0.2.1")
    assert beg(machine, peer="10.0.0.1", forwarded_for="192.0.2.1").status_code == 429
    assert beg(machine, peer="10.0.0.1", forwarded_for="192.0.2.2").status_code == 200


@pytest.mark.usefixtures("few")
def test_stranger_cannot_ask_for_others(machine: FileClient) -> None:
    answers = [beg(machine, forwarded_for=f"198.51.100.{number}").status_code for number in range(4)]
    assert answers == [200, 200, 200, 429]


@pytest.mark.usefixtures("few")
def test_addresses_of_one_ipv6_site_are_counted_together(machine: FileClient) -> None:
    answers = [beg(machine, peer=f"2001:db8:1:2::{number}").status_code for number in range(1, 5)]
    assert answers == [200, 200, 200, 429]
    assert beg(machine, peer="2001:db8:1:3::1").status_code == 200


@pytest.mark.usefixtures("few")
def test_who_has_a_session_is_not_held_up(machine: FileClient) -> None:
    machine.log_in()
    for _ in range(4):
        beg(machine)
    assert [machine.ask("GET", "/").status_code for _ in range(5)] == [200] * 5


@pytest.mark.parametrize("body", ["{", '{"client_name": NaN}', "client_name=box", "[" * 10_000])
def test_json_that_cannot_be_read_is_a_bad_request(machine: FileClient, body: str) -> None:
    assert machine.generic("POST", "/auth", body, content_type="application/json").status_code == 400

"""An OpenID provider on loopback that says and signs whatever a test wants, and has a fault wherever one wants it."""

import base64
import gzip
import hashlib
import json
import secrets
import select
import socket
import ssl
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import cycle
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms

CLIENT_ID = "registry"
CLIENT_SECRET = "s3cret/+ of the client"
ENDPOINTS = {
    "/.well-known/openid-configuration": "discovery",
    "/jwks": "jwks",
    "/authorize": "authorize",
    "/token": "token",
    "/userinfo": "userinfo",
    "/end_session": "end_session",
}
HUGE = 100 * 1024 * 1024
PATIENCE = 60  # seconds after which a fault that takes its time ends by itself


# --- Keys and what they sign -------------------------------------------------------------------------------------


@cache
def private_key(kind: str, number: int = 0) -> Any:
    """One for all tests: to make them takes long."""
    if kind == "RSA":
        return rsa.generate_private_key(65537, 2048)
    if kind == "Ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key({"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}[kind])


KINDS = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521", "EdDSA": "Ed25519"}


@dataclass(frozen=True)
class Key:
    """Of one algorithm; keys of one kind and number have the same numbers behind them, whatever they are called."""

    kid: str = "a"
    algorithm: str = "ES256"
    number: int = 0

    @property
    def private(self) -> Any:
        return private_key(KINDS.get(self.algorithm, "RSA"), self.number)

    def jwk(self, **changes: Any) -> dict[str, Any]:
        """The public half; None takes a member out."""
        converter: Any = get_default_algorithms()[self.algorithm]
        members = converter.to_jwk(self.private.public_key(), as_dict=True)
        members.pop("key_ops", None)
        return changed({**members, "kid": self.kid, "use": "sig", "alg": self.algorithm}, changes)

    def sign(self, message: bytes) -> bytes:
        return get_default_algorithms()[self.algorithm].sign(message, self.private)


def changed(members: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """None takes a member out."""
    return {name: value for name, value in {**members, **changes}.items() if value is not None}


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(
    claims: Mapping[str, Any] | bytes,
    key: Key,
    header: Mapping[str, Any] | None = None,
    sign: Callable[[bytes], bytes] | None = None,
) -> str:
    """A JSON web token; `header` changes what stands before the claims, `sign` signs in the place of the key."""
    head = changed({"alg": key.algorithm, "kid": key.kid, "typ": "JWT"}, header or {})
    body = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    message = f"{base64url(json.dumps(head).encode())}.{base64url(body)}".encode()
    return f"{message.decode()}.{base64url((sign or key.sign)(message))}"


# --- What goes wrong ---------------------------------------------------------------------------------------------


class Handler(BaseHTTPRequestHandler):
    """Each connection has one request, and a thread."""

    @property
    def provider(self) -> "BadProvider":
        return cast(_Server, self.server).provider

    def do_GET(self) -> None:
        self.provider.answer(self, b"")

    def do_POST(self) -> None:
        self.provider.answer(self, self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def say(self, status: int, body: Any, content_type: str = "application/json", **headers: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        usual = {"Content_Type": content_type, "Content_Length": str(len(data))}
        for name, value in {**usual, **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 100
    provider: "BadProvider"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has had enough is none of our business."""


def _reset(handler: Handler) -> None:
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()


def _hang(handler: Handler) -> None:
    for _ in range(PATIENCE * 5):
        gone, _, _ = select.select([handler.connection], [], [], 0.2)
        if gone or handler.provider.over.is_set():
            return


def _drip(handler: Handler, head: bytes, drop: bytes) -> None:
    handler.wfile.write(head)
    for _ in range(PATIENCE):
        if handler.provider.over.wait(1):
            return
        handler.wfile.write(drop)


def _huge(handler: Handler) -> None:
    handler.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"' % HUGE)
    for _ in range(HUGE // 65536):
        handler.wfile.write(b"x" * 65536)


@cache
def _bomb() -> bytes:
    return gzip.compress(b" " * (HUGE // 100)) * 100


FAULTS: dict[str, Callable[[Handler], None]] = {
    "reset": _reset,
    "refused": lambda handler: handler.say(403, {"error": "access_denied"}),
    "broken": lambda handler: handler.say(500, b"<h1>Traceback (most recent call last)</h1>", "text/html"),
    "elsewhere": lambda handler: handler.say(302, b"", Location=f"{handler.provider.issuer}/elsewhere"),
    "no JSON": lambda handler: handler.say(200, b'{"issuer": \xff'),
    "a list": lambda handler: handler.say(200, [{"issuer": handler.provider.issuer}]),
    "deep": lambda handler: handler.say(200, b"[" * 900_000),
    "huge": _huge,
    "bomb": lambda handler: handler.say(200, _bomb(), Content_Encoding="gzip"),
    "no gzip": lambda handler: handler.say(200, b"no gzip", Content_Encoding="gzip"),
    "cut": lambda handler: handler.say(200, b'{"issuer"', Content_Length="1000"),
    "no HTTP": lambda handler: _drip_nothing(handler, b"SSH-2.0-OpenSSH_9.2\r\n"),
    "headers": lambda handler: handler.say(200, {}, **{f"X_{number}": "x" for number in range(200)}),
    "hang": _hang,
    "slow headers": lambda handler: _drip(handler, b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x"),
    "slow body": lambda handler: _drip(handler, b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b" "),
}
SLOW = ("hang", "slow headers", "slow body")
QUICK = tuple(name for name in FAULTS if name not in SLOW)


def _drip_nothing(handler: Handler, data: bytes) -> None:
    handler.wfile.write(data)


# --- The provider ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Script:
    """What the provider says in one sign-in: the truth, but for these changes, of which None takes a claim out."""

    claims: Mapping[str, Any] = field(default_factory=dict)  # of the ID token
    userinfo: Mapping[str, Any] = field(default_factory=dict)
    id_token: Callable[[dict[str, Any]], Any] | None = None  # made of its claims
    signed_userinfo: Callable[[dict[str, Any]], str] | None = None
    tokens: Mapping[str, Any] = field(default_factory=dict)  # beside the ID token
    refusal: tuple[int, Any] | None = None  # of the token endpoint
    faults: Mapping[str, str] = field(default_factory=dict)  # at `token` and `userinfo`


def person(name: str, **claims: Any) -> Script:
    """Somebody who signs in well."""
    return Script(claims={"sub": name}, userinfo={"nickname": name, **claims})


@dataclass(frozen=True)
class Granted:
    script: Script
    query: Mapping[str, str]  # of the authorization request


class BadProvider:
    """Good until it is told to be otherwise."""

    def __init__(self, tls: Path | None = None) -> None:
        self.tls = tls  # a directory with key.pem and cert.pem
        self.server = self._listen(0)
        self.port = self.server.server_port
        self.issuer: str = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self.over = threading.Event()
        self.lock = threading.Lock()
        self.codes: dict[str, Granted] = {}
        self.access_tokens: dict[str, Granted] = {}
        self.secrets = {CLIENT_SECRET, quote(CLIENT_SECRET, "")}
        self.asked: Counter[str] = Counter()
        self.be_good()

    def be_good(self) -> None:
        """As at the start."""
        self.keys = [Key()]
        self.jwks: Any = None  # in the place of what the keys make
        self.says: dict[str, Any] = {}  # changes of what it says of itself
        self.faults: dict[str, Iterator[str]] = {}
        self.script = Script()
        self.asked.clear()

    # What it is told

    def _listen(self, port: int) -> _Server:
        server = _Server(("127.0.0.1", port), Handler)
        server.provider = self
        if self.tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.tls / "cert.pem", self.tls / "key.pem")
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return server

    def stop(self) -> None:
        self.over.set()
        self.server.shutdown()
        self.server.server_close()

    @contextmanager
    def down(self) -> Iterator[None]:
        """Nobody listens at its port."""
        self.server.shutdown()
        self.server.server_close()
        try:
            yield
        finally:
            self.server = self._listen(self.port)

    @contextmanager
    def faulty(self, endpoint: str, *faults: str) -> Iterator[None]:
        """One request after the other has one of these faults."""
        self.faults[endpoint] = cycle(faults)
        try:
            yield
        finally:
            del self.faults[endpoint]

    def grant(self, location: str, script: Script) -> str:
        """Where it sends a browser back to that was sent to `location`."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}
        code = secrets.token_urlsafe(24)
        with self.lock:
            self.codes[code] = Granted(script, query)
            self.secrets.add(code)
        return f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}"

    def claims(self, nonce: str | None, **changes: Any) -> dict[str, Any]:
        """Good ones of an ID token, with changes."""
        now = int(time.time())
        good = {"iss": self.issuer, "aud": CLIENT_ID, "sub": "gagbo", "iat": now, "exp": now + 300, "nonce": nonce}
        return changed(good, changes)

    # What it answers

    def answer(self, handler: Handler, body: bytes) -> None:
        place = urlsplit(handler.path)
        endpoint = ENDPOINTS.get(place.path, place.path)
        form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        with self.lock:
            self.asked[endpoint] += 1
            granted = self._granted(handler, endpoint, form)
            fault = granted.script.faults.get(endpoint, "") if granted else ""
            if not fault and endpoint in self.faults:
                fault = next(self.faults[endpoint], "")
        if fault:
            FAULTS[fault](handler)
        elif endpoint == "discovery":
            handler.say(200, changed(self.metadata(), self.says))
        elif endpoint == "jwks":
            handler.say(200, {"keys": [key.jwk() for key in self.keys]} if self.jwks is None else self.jwks)
        elif endpoint == "authorize":
            handler.say(302, b"", Location=self.grant(handler.path, self.script))
        elif endpoint == "token":
            self._token(handler, granted, form)
        elif endpoint == "userinfo" and granted is not None:
            self._userinfo(handler, granted.script)
        elif endpoint == "end_session":
            handler.say(200, b"You are signed out.", "text/plain")
        else:
            handler.say(404, {"error": "not_found"})

    def metadata(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "jwks_uri": f"{self.issuer}/jwks",
            "end_session_endpoint": f"{self.issuer}/end_session",
        }

    def _granted(self, handler: Handler, endpoint: str, form: Mapping[str, str]) -> Granted | None:
        if endpoint == "token":
            return self.codes.pop(form.get("code", ""), None)
        return self.access_tokens.get(handler.headers.get("Authorization", "").removeprefix("Bearer "))

    def _token(self, handler: Handler, granted: Granted | None, form: Mapping[str, str]) -> None:
        """A code is good once, for who has begun with it and knows the secret."""
        basic = base64.b64encode(f"{CLIENT_ID}:{quote(CLIENT_SECRET, '')}".encode()).decode()
        if handler.headers.get("Authorization") != f"Basic {basic}":
            return handler.say(401, {"error": "invalid_client"})
        challenge = base64url(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        proven = {"redirect_uri": form.get("redirect_uri"), "code_challenge": challenge}
        if granted is None or {name: granted.query.get(name) for name in proven} != proven:
            return handler.say(400, {"error": "invalid_grant"})
        script = granted.script
        if script.refusal is not None:
            return handler.say(*script.refusal)
        claims = self.claims(granted.query.get("nonce"), **script.claims)
        id_token = script.id_token(claims) if script.id_token else signed(claims, self.keys[-1])
        access_token = secrets.token_urlsafe(24)
        with self.lock:
            self.access_tokens[access_token] = granted
            self.secrets |= {access_token, *([id_token] if isinstance(id_token, str) and len(id_token) > 20 else [])}
        said = {"access_token": access_token, "token_type": "Bearer", "id_token": id_token}
        return handler.say(200, changed(said, script.tokens))

    def _userinfo(self, handler: Handler, script: Script) -> None:
        sub = script.claims.get("sub", "gagbo")
        said = changed({"sub": sub, "nickname": "gagbo", "groups": ["devs"]}, script.userinfo)
        if script.signed_userinfo:
            return handler.say(200, script.signed_userinfo(said).encode(), "application/jwt")
        return handler.say(200, said)


@contextmanager
def provided(tls: Path | None = None) -> Iterator[BadProvider]:
    provider = BadProvider(tls)
    try:
        yield provider
    finally:
        provider.stop()

"""An OpenID provider on loopback whose answers, signatures and faults each test chooses."""

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
MAX_FAULT_SECONDS = 120  # longer than any client waits


# --- Keys and what they sign -------------------------------------------------------------------------------------


@cache
def private_key(kind: str, number: int = 0) -> Any:
    """Return a private key; it is shared by all tests, since making RSA keys takes long."""
    if kind == "RSA":
        return rsa.generate_private_key(65537, 2048)
    if kind == "Ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key({"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}[kind])


KINDS = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521", "EdDSA": "Ed25519"}


@dataclass(frozen=True)
class Key:
    """A signing key of one algorithm; keys of one kind and number share the private key, whatever their key ids."""

    kid: str = "a"
    algorithm: str = "ES256"
    number: int = 0

    @property
    def private(self) -> Any:
        return private_key(KINDS.get(self.algorithm, "RSA"), self.number)

    def jwk(self, **changes: Any) -> dict[str, Any]:
        """Return the public half as a JWK with changed members; None removes a member."""
        converter: Any = get_default_algorithms()[self.algorithm]
        members = converter.to_jwk(self.private.public_key(), as_dict=True)
        members.pop("key_ops", None)
        return with_changes({**members, "kid": self.kid, "use": "sig", "alg": self.algorithm}, changes)

    def sign(self, message: bytes) -> bytes:
        return get_default_algorithms()[self.algorithm].sign(message, self.private)


def with_changes(members: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members with changes, of which None removes a member."""
    return {name: value for name, value in {**members, **changes}.items() if value is not None}


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def sign_jwt(
    claims: Mapping[str, Any] | bytes,
    key: Key,
    header: Mapping[str, Any] | None = None,
    sign: Callable[[bytes], bytes] | None = None,
) -> str:
    """Return a JSON web token; `header` changes its header, `sign` replaces the signature of the key."""
    head = with_changes({"alg": key.algorithm, "kid": key.kid, "typ": "JWT"}, header or {})
    body = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    message = f"{base64url(json.dumps(head).encode())}.{base64url(body)}".encode()
    return f"{message.decode()}.{base64url((sign or key.sign)(message))}"


# --- Faults ------------------------------------------------------------------------------------------------------


class Handler(BaseHTTPRequestHandler):
    """The handler of one request; each connection has one request and a thread."""

    @property
    def provider(self) -> "BadProvider":
        return cast(_Server, self.server).provider

    def do_GET(self) -> None:
        self.provider.respond(self, b"")

    def do_POST(self) -> None:
        self.provider.respond(self, self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def respond(self, status: int, body: Any, content_type: str = "application/json", **headers: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        default_headers = {"Content_Type": content_type, "Content_Length": str(len(data))}
        for name, value in {**default_headers, **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 100
    provider: "BadProvider"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that disconnect early."""


def _reset(handler: Handler) -> None:
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()


def _hang(handler: Handler) -> None:
    for _ in range(MAX_FAULT_SECONDS * 5):
        disconnected, _, _ = select.select([handler.connection], [], [], 0.2)
        if disconnected or handler.provider.stopped.is_set():
            return


def _drip(handler: Handler, start: bytes, byte: bytes) -> None:
    handler.wfile.write(start)
    for _ in range(MAX_FAULT_SECONDS):
        if handler.provider.stopped.wait(1):
            return
        handler.wfile.write(byte)


def _huge(handler: Handler) -> None:
    handler.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"' % HUGE)
    for _ in range(HUGE // 65536):
        handler.wfile.write(b"x" * 65536)


@cache
def _bomb() -> bytes:
    return gzip.compress(b" " * (HUGE // 100)) * 100


FAULTS: dict[str, Callable[[Handler], None]] = {
    "reset": _reset,
    "refused": lambda handler: handler.respond(403, {"error": "access_denied"}),
    "broken": lambda handler: handler.respond(500, b"<h1>Traceback (most recent call last)</h1>", "text/html"),
    "elsewhere": lambda handler: handler.respond(302, b"", Location=f"{handler.provider.issuer}/elsewhere"),
    "no JSON": lambda handler: handler.respond(200, b'{"issuer": \xff'),
    "a list": lambda handler: handler.respond(200, [{"issuer": handler.provider.issuer}]),
    "deep": lambda handler: handler.respond(200, b"[" * 900_000),
    "huge": _huge,
    "bomb": lambda handler: handler.respond(200, _bomb(), Content_Encoding="gzip"),
    "no gzip": lambda handler: handler.respond(200, b"no gzip", Content_Encoding="gzip"),
    "cut": lambda handler: handler.respond(200, b'{"issuer"', Content_Length="1000"),
    "no HTTP": lambda handler: _write(handler, b"SSH-2.0-OpenSSH_9.2\r\n"),
    "headers": lambda handler: handler.respond(200, {}, **{f"X_{number}": "x" for number in range(200)}),
    "hang": _hang,
    "slow headers": lambda handler: _drip(handler, b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x"),
    "slow body": lambda handler: _drip(handler, b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b" "),
    "no end": lambda handler: _drip(handler, b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", b" "),
}
SLOW = ("hang", "slow headers", "slow body", "no end")
QUICK = tuple(name for name in FAULTS if name not in SLOW)


def _write(handler: Handler, data: bytes) -> None:
    handler.wfile.write(data)


# --- The provider ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Script:
    """Changes of the provider's good answers in one sign-in; None removes a claim."""

    claims: Mapping[str, Any] = field(default_factory=dict)  # of the ID token
    userinfo: Mapping[str, Any] = field(default_factory=dict)
    id_token: Callable[[dict[str, Any]], Any] | None = None  # from its claims
    signed_userinfo: Callable[[dict[str, Any]], str] | None = None
    tokens: Mapping[str, Any] = field(default_factory=dict)  # beside the ID token
    refusal: tuple[int, Any] | None = None  # of the token endpoint
    faults: Mapping[str, str] = field(default_factory=dict)  # at `token` and `userinfo`


def honest(name: str, **claims: Any) -> Script:
    """Return the script of a person who signs in without any fault."""
    return Script(claims={"sub": name}, userinfo={"nickname": name, **claims})


@dataclass(frozen=True)
class Grant:
    script: Script
    query: Mapping[str, str]  # of the authorization request


class BadProvider:
    """A good provider until a test changes one of its attributes."""

    def __init__(self, tls: Path | None = None) -> None:
        self.tls = tls  # a directory with key.pem and cert.pem
        self.server = self._listen(0)
        self.port = self.server.server_port
        self.issuer: str = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self.stopped = threading.Event()
        self.lock = threading.Lock()
        self.codes: dict[str, Grant] = {}
        self.access_tokens: dict[str, Grant] = {}
        self.secrets = {CLIENT_SECRET, quote(CLIENT_SECRET, "")}
        self.requests: Counter[str] = Counter()
        self.reset()

    def reset(self) -> None:
        """Be a good provider again, as at the start."""
        self.keys = [Key()]
        self.jwks: Any = None  # replaces the key set
        self.metadata_changes: dict[str, Any] = {}
        self.faults: dict[str, Iterator[str]] = {}
        self.script = Script()
        self.refusal: tuple[int, Any] | None = None  # of every request for tokens
        self.requests.clear()

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
        self.stopped.set()
        self.server.shutdown()
        self.server.server_close()

    @contextmanager
    def down(self) -> Iterator[None]:
        """Close the provider's port meanwhile."""
        self.server.shutdown()
        self.server.server_close()
        try:
            yield
        finally:
            self.server = self._listen(self.port)

    @contextmanager
    def faulty(self, endpoint: str, *faults: str) -> Iterator[None]:
        """Give one request after the other the next of these faults."""
        self.faults[endpoint] = cycle(faults)
        try:
            yield
        finally:
            del self.faults[endpoint]

    def authorize(self, location: str, script: Script) -> str:
        """Return the address that a browser is redirected to, after the registry sent it to `location`."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}
        code = secrets.token_urlsafe(24)
        with self.lock:
            self.codes[code] = Grant(script, query)
            self.secrets.add(code)
        return f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}"

    def claims(self, nonce: str | None, **changes: Any) -> dict[str, Any]:
        """Return the claims of a good ID token with changes."""
        now = int(time.time())
        good = {"iss": self.issuer, "aud": CLIENT_ID, "sub": "gagbo", "iat": now, "exp": now + 300, "nonce": nonce}
        return with_changes(good, changes)

    def respond(self, handler: Handler, body: bytes) -> None:
        path = urlsplit(handler.path).path
        endpoint = ENDPOINTS.get(path, path)
        form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        with self.lock:
            self.requests[endpoint] += 1
            grant = self._find_grant(handler, endpoint, form)
            fault = grant.script.faults.get(endpoint, "") if grant else ""
            if not fault and endpoint in self.faults:
                fault = next(self.faults[endpoint], "")
        if fault:
            FAULTS[fault](handler)
        elif endpoint == "discovery":
            handler.respond(200, with_changes(self.metadata(), self.metadata_changes))
        elif endpoint == "jwks":
            handler.respond(200, {"keys": [key.jwk() for key in self.keys]} if self.jwks is None else self.jwks)
        elif endpoint == "authorize":
            handler.respond(302, b"", Location=self.authorize(handler.path, self.script))
        elif endpoint == "token":
            self._token(handler, grant, form)
        elif endpoint == "userinfo" and grant is not None:
            self._userinfo(handler, grant.script)
        elif endpoint == "end_session":
            handler.respond(200, b"You are signed out.", "text/plain")
        else:
            handler.respond(404, {"error": "not_found"})

    def metadata(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "jwks_uri": f"{self.issuer}/jwks",
            "end_session_endpoint": f"{self.issuer}/end_session",
        }

    def _find_grant(self, handler: Handler, endpoint: str, form: Mapping[str, str]) -> Grant | None:
        if endpoint == "token":
            return self.codes.pop(form.get("code", ""), None)
        return self.access_tokens.get(handler.headers.get("Authorization", "").removeprefix("Bearer "))

    def _token(self, handler: Handler, grant: Grant | None, form: Mapping[str, str]) -> None:
        """Take a code once, from the client that began with it and knows the secret."""
        if self.refusal is not None:
            return handler.respond(*self.refusal)
        basic = base64.b64encode(f"{CLIENT_ID}:{quote(CLIENT_SECRET, '')}".encode()).decode()
        if handler.headers.get("Authorization") != f"Basic {basic}":
            return handler.respond(401, {"error": "invalid_client"})
        challenge = base64url(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        proof = {"redirect_uri": form.get("redirect_uri"), "code_challenge": challenge}
        if grant is None or {name: grant.query.get(name) for name in proof} != proof:
            return handler.respond(400, {"error": "invalid_grant"})
        script = grant.script
        if script.refusal is not None:
            return handler.respond(*script.refusal)
        claims = self.claims(grant.query.get("nonce"), **script.claims)
        id_token = script.id_token(claims) if script.id_token else sign_jwt(claims, self.keys[-1])
        access_token = secrets.token_urlsafe(24)
        with self.lock:
            self.access_tokens[access_token] = grant
            self.secrets |= {access_token, *([id_token] if isinstance(id_token, str) and len(id_token) > 20 else [])}
        body = {"access_token": access_token, "token_type": "Bearer", "id_token": id_token}
        return handler.respond(200, with_changes(body, script.tokens))

    def _userinfo(self, handler: Handler, script: Script) -> None:
        sub = script.claims.get("sub", "gagbo")
        claims = with_changes({"sub": sub, "nickname": "gagbo", "groups": ["devs"]}, script.userinfo)
        if script.signed_userinfo:
            return handler.respond(200, script.signed_userinfo(claims).encode(), "application/jwt")
        return handler.respond(200, claims)


@contextmanager
def running_provider(tls: Path | None = None) -> Iterator[BadProvider]:
    provider = BadProvider(tls)
    try:
        yield provider
    finally:
        provider.stop()

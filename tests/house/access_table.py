"""Access table: one row for each route and documented method, with the status that each principal gets."""

import gzip
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.http import HttpResponse
from django.test import Client, override_settings
from django.urls import Resolver404, URLPattern, URLResolver, get_resolver, resolve

from accounts import bans, registration, roles
from accounts.models import Role, User
from accounts.principals import Principal
from crates import ownership, publishing
from crates.mirror.models import STORE, CachedCrate, CachedIndexFile
from files import catalogue, clients, sessions
from files.actors import Actor
from files.models import Client as Machine
from files.models import Rights
from namespaces import membership
from namespaces.models import Role as NamespaceRole
from namespaces.role_assignments import NewRole
from packages import collaboration, release_input, releasing
from registry_site.storage import blobs
from tests.support import packing
from tests.support.cast import PASSWORD
from tests.support.sent_mails import sent_mails

OTHER = "battery staple"
ARCHIVE = gzip.compress(bytes(1024))  # a tar of nothing
ORIGIN = "http://testserver"

# The owner has the crate, the app key and the session of the rows; a user has nothing. Banned and deactivated accounts
# are administrators and own the crate, too; they logged in before they were closed.
LIVE = ("user", "owner", *Role.values, "administrator")
CLOSED = ("banned", "deactivated")
# Credentials of the owner, sent to endpoints of another dialect.
WRONG = ("cargo token", "backups session", "torrust session", "browser session", "file session", "junk")
GROUPS = {"administrators": (Role.SYSTEM_ADMIN.value, "administrator"), "closed": CLOSED, "wrong": WRONG}


@dataclass(frozen=True)
class Scheme:
    """The place where a dialect reads a credential, and its statuses for bad ones; None means "as a user"."""

    kind: str
    refusal: frozenset[str] | None
    headers: Callable[[str], dict[str, str]]
    anonymous: int | None = 401
    closed: int | None = 401
    wrong: int | None = 401
    wrong_headers: Callable[[str], dict[str, str]] | None = None
    in_body: bool = False
    reads_openly: bool = False  # its routes answer reads to everybody

    @property
    def cast(self) -> tuple[str, ...]:
        """The principals that are tried with this scheme."""
        return ("anonymous", *LIVE, *CLOSED, *(kind for kind in WRONG if kind != self.kind))

    def carry(self, secret: str, *, wrong: bool) -> dict[str, str]:
        """Return the headers that carry a secret; none where the body carries it."""
        if self.in_body:
            return {}
        return (self.wrong_headers or self.headers)(secret) if wrong else self.headers(secret)


def open_to_all(scheme: Scheme) -> Scheme:
    """Copy a scheme for endpoints that ignore credentials."""
    return replace(scheme, anonymous=None, closed=None, wrong=None)


def by_password(scheme: Scheme, refused: int) -> Scheme:
    """Copy a scheme for log-ins; the path and body of a row have `{name}` and `{secret}`."""
    return replace(scheme, kind="password", in_body=True, anonymous=refused, closed=refused, wrong=refused)


def _bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def _cookie(secret: str) -> dict[str, str]:
    return {"Cookie": f"registry_session={secret}", "Origin": ORIGIN}


def _token(secret: str) -> dict[str, str]:
    return {"Token": secret, "Origin": ORIGIN}


CARGO = Scheme("cargo token", frozenset({"errors"}), lambda secret: {"Authorization": secret})
CARGO_OPEN = replace(CARGO, reads_openly=True)
BACKUPS = Scheme(
    "backups session", frozenset({"status", "error", "message", "code", "data"}), _bearer, closed=403
)  # a revoked session is forbidden there, not unknown
TORRUST = Scheme("torrust session", frozenset({"error"}), _bearer)
TORRUST_BODY = replace(TORRUST, in_body=True)
TORRUST_VERIFY = replace(TORRUST_BODY, refusal=frozenset({"error", "data"}))
YAPKG = Scheme("browser session", frozenset({"error", "message"}), _cookie, wrong_headers=_token)
YAPKG_WRITE = replace(YAPKG, reads_openly=True)
YAPKG_READ = replace(YAPKG_WRITE, anonymous=None, closed=None)  # a revoked cookie counts as none there
FILES = Scheme("file session", frozenset({"success", "error", "message"}), _bearer)
TEXT = replace(TORRUST, refusal=None)
DOCUMENTS = replace(CARGO, refusal=None, anonymous=200)


class Sample(dict[str, str]):
    """Values for placeholders in a path; digits fit everywhere."""

    def __missing__(self, key: str) -> str:
        return "1"


class Row:
    """A request with the status for a user; `others` are principals or groups with another status."""

    def __init__(
        self,
        scheme: Scheme,
        method: str,
        path: str,
        user: int,
        /,
        body: Mapping[str, Any] | bytes | None = None,
        **others: int,
    ) -> None:
        self.scheme, self.method, self.path, self.body = scheme, method, path, body
        self.route = _route(path.partition("?")[0].format_map(Sample()))
        by_scheme = {"anonymous": scheme.anonymous, "closed": scheme.closed, "wrong": scheme.wrong}
        self.expected = dict.fromkeys(scheme.cast, user)
        assert set(others) <= {*self.expected, *GROUPS}, f"{self}: no principal has this name"
        for name, status in {**by_scheme, **others}.items():
            for principal in GROUPS.get(name, (name,)):
                if principal in self.expected and status is not None:
                    self.expected[principal] = status

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    def expected_of_other_methods(self, method: str) -> dict[str, int]:
        """Return 405 for each principal, but the documented refusal for those without access."""
        outside = set() if self.scheme.in_body else {name for name in self.expected if name not in LIVE}
        if self.scheme.reads_openly:
            refused = outside.intersection(WRONG) if method in ("GET", "HEAD", "OPTIONS") else outside
            return {name: 401 if name in refused else 405 for name in self.expected}
        refusals = {(name, 401) for name in outside} | {(name, 403) for name in outside.intersection(CLOSED)}
        return {name: status if (name, status) in refusals else 405 for name, status in self.expected.items()}


def _route(path: str) -> str:
    """Return the route of a path; for an unknown path the path itself, which a test reports."""
    try:
        return resolve(path).route
    except Resolver404:
        return path


KTRA_PASSWORD = by_password(CARGO, 401)
BACKUPS_PASSWORD = by_password(BACKUPS, 401)
TORRUST_PASSWORD = by_password(TORRUST, 403)
YAPKG_PASSWORD = by_password(YAPKG, 401)
SIGN_UP = {"username": "dora", "email": "dora@example.com", "password": PASSWORD}
NAMED = {"username": "{name}", "password": "{secret}"}
CHANGE = {"current_password": PASSWORD, "password": OTHER, "confirm_password": OTHER}

RELEASE = {"version": "2.0.0", "dependencies": [], "dev_dependencies": []}
NEW_PACKAGE = {**RELEASE, "package_name": "fresh", "field": "java"}
SNAPSHOT = {"status": "SNAPSHOT"}
GUEST = {"username": "user", "role": "READ_ONLY"}


def _namespaces(prefix: str) -> list[Row]:
    """List the rows of the owner's namespace, with a public and a private package and a bystander as member."""
    namespace = f"/{prefix}/acme"
    tool, secret = f"{namespace}/packages/tool", f"{namespace}/packages/secret"
    may: dict[str, Any] = {"owner": 200, "administrators": 200}
    return [
        Row(YAPKG_WRITE, "POST", f"/{prefix}", 200, {"namespace": "fresh"}),
        Row(YAPKG_READ, "GET", namespace, 200),
        Row(YAPKG_READ, "GET", f"/{prefix}/owner", 404),
        Row(YAPKG_WRITE, "DELETE", namespace, 403, **may),
        Row(YAPKG_WRITE, "POST", f"{namespace}/members", 403, GUEST, **may),
        Row(YAPKG_WRITE, "PATCH", f"{namespace}/members/bystander", 403, {"role": "READ_ONLY"}, **may),
        Row(YAPKG_WRITE, "DELETE", f"{namespace}/members/bystander", 403, **may),
        Row(YAPKG_READ, "GET", f"{namespace}/packages", 200),
        Row(YAPKG_WRITE, "POST", f"{namespace}/packages", 403, NEW_PACKAGE, **may),
        Row(YAPKG_WRITE, "POST", f"/{prefix}/none/packages", 400, NEW_PACKAGE),
        Row(YAPKG_READ, "GET", tool, 200),
        Row(YAPKG_WRITE, "PUT", tool, 403, RELEASE, **may),
        Row(YAPKG_WRITE, "PATCH", tool, 403, SNAPSHOT, **may),
        Row(YAPKG_WRITE, "DELETE", tool, 403, **may),
        Row(YAPKG_READ, "GET", secret, 404, **may),
        Row(YAPKG_WRITE, "PUT", secret, 400, RELEASE, **may),
        Row(YAPKG_WRITE, "PATCH", secret, 404, SNAPSHOT, **may),
        Row(YAPKG_WRITE, "DELETE", secret, 204, **may),
        Row(YAPKG_READ, "GET", f"{tool}/versions", 200),
        Row(YAPKG_READ, "GET", f"{secret}/versions", 404, **may),
        Row(YAPKG_READ, "GET", f"{tool}/versions/1.0.0", 200),
        Row(YAPKG_READ, "GET", f"{secret}/versions/1.0.0", 404, **may),
        Row(YAPKG_READ, "GET", f"{tool}/versions/1.0.0/download", 200),
        Row(YAPKG_READ, "GET", f"{secret}/versions/1.0.0/download", 404, **may),
        Row(YAPKG, "GET", f"{tool}/collaborators", 200),
        Row(YAPKG, "GET", f"{secret}/collaborators", 404, **may),
        Row(YAPKG, "POST", f"{tool}/collaborators", 403, GUEST, **may),
        Row(YAPKG, "PATCH", f"{tool}/collaborators/bystander", 403, {"role": "READ_ONLY"}, **may),
        Row(YAPKG, "DELETE", f"{tool}/collaborators/bystander", 403, **may),
    ]


# Scheme, method, an existing path, status for a user, body; then the principals with another status. Several rows may
# stand for one route. `{name}`, `{secret}` and the names of `World.placeholders` are filled in.
TABLE = [
    # The description of the API
    Row(DOCUMENTS, "GET", "/docs/api", 200),
    Row(DOCUMENTS, "GET", "/openapi.json", 200),
    # Ktra
    Row(open_to_all(CARGO), "POST", "/ktra/api/v1/new_user/dora", 200, {"password": PASSWORD}),
    Row(KTRA_PASSWORD, "POST", "/ktra/api/v1/login/{name}", 200, {"password": "{secret}"}),
    Row(
        KTRA_PASSWORD,
        "POST",
        "/ktra/api/v1/change_password/{name}",
        200,
        {"old_password": "{secret}", "new_password": OTHER},
    ),
    Row(replace(CARGO, anonymous=None), "GET", "/me", 200),
    Row(CARGO, "GET", "/replace_token", 200),
    Row(CARGO, "POST", "/replace_token", 200),
    # backup-repository
    Row(BACKUPS_PASSWORD, "POST", "/api/stable/auth/login", 200, NAMED),
    Row(BACKUPS, "GET", "/api/stable/auth/refresh_token", 200),
    Row(BACKUPS, "GET", "/api/stable/auth/user/owner", 403, owner=200, usersManager=200, administrators=200),
    Row(BACKUPS, "GET", "/api/stable/auth/user/nobody", 403, usersManager=404, administrators=404),
    Row(BACKUPS, "GET", "/api/stable/auth/whoami", 200),
    Row(BACKUPS, "GET", "/api/stable/auth/logout", 200),
    Row(BACKUPS, "POST", "/api/stable/auth/logout", 200),
    Row(BACKUPS, "DELETE", "/api/stable/auth/logout", 200),
    Row(BACKUPS, "DELETE", "/api/stable/auth/logout?sessionId={session}", 403, owner=200, administrators=200),
    Row(BACKUPS, "DELETE", "/api/stable/auth/logout?sessionId=none", 403, administrators=404),
    Row(BACKUPS, "GET", "/api/stable/auth/token", 200),
    Row(BACKUPS, "GET", "/api/stable/auth/token?userName=owner", 403, administrators=200),
    # torrust
    Row(open_to_all(TORRUST), "POST", "/v1/user/register", 200, {**SIGN_UP, "confirm_password": PASSWORD}),
    Row(open_to_all(TEXT), "GET", "/v1/user/email/verify/{link}", 200),
    Row(TORRUST_PASSWORD, "POST", "/v1/user/login", 200, {"login": "{name}", "password": "{secret}"}),
    Row(TORRUST_VERIFY, "POST", "/v1/user/token/verify", 200, {"token": "{secret}"}),
    Row(TORRUST_BODY, "POST", "/v1/user/token/renew", 200, {"token": "{secret}"}),
    Row(TORRUST, "DELETE", "/v1/user/ban/bystander", 403, administrators=200),
    Row(TORRUST, "DELETE", "/v1/user/ban/nobody", 403, administrators=404),
    Row(TORRUST, "POST", "/v1/user/owner/change-password", 403, CHANGE, owner=200, administrators=200),
    # yapkg
    Row(open_to_all(YAPKG), "POST", "/register", 200, SIGN_UP),
    Row(YAPKG_PASSWORD, "POST", "/login", 200, NAMED),
    Row(open_to_all(YAPKG), "GET", "/logout", 200),
    Row(open_to_all(YAPKG), "POST", "/logout", 200),
    Row(YAPKG_READ, "GET", "/users/owner", 200),
    Row(YAPKG, "PATCH", "/settings/profile", 200, {"avatar_uri": "https://example.com/a.png"}),
    Row(YAPKG, "PATCH", "/settings/profile", 403, {"user_id": "{owner_id}", "avatar_uri": ""}, owner=200),
    Row(YAPKG, "GET", "/settings/appids", 200),
    Row(YAPKG, "POST", "/settings/appids", 200, {"type": "READ_ONLY"}),
    Row(YAPKG, "DELETE", "/settings/appids/{appid}", 404, owner=200),
    Row(YAPKG_READ, "GET", "/packages?query=tool", 200),
    *_namespaces("namespace"),
    *_namespaces("namespaces"),
    # Cargo
    Row(CARGO, "GET", "/api/v1/crates?q=demo", 200, anonymous=200),
    Row(CARGO, "PUT", "/api/v1/crates/new", 200, packing.body("fresh")),
    Row(CARGO, "PUT", "/api/v1/crates/new", 403, packing.body("demo", "1.0.1"), owner=200),
    Row(CARGO_OPEN, "DELETE", "/api/v1/crates/demo", 403, owner=204),
    Row(CARGO, "DELETE", "/api/v1/crates/demo/1.0.0/yank", 403, owner=200),
    Row(CARGO, "PUT", "/api/v1/crates/demo/1.0.0/unyank", 403, owner=200),
    Row(CARGO_OPEN, "PATCH", "/api/v1/crates/demo/1.0.0", 403, {"version": {"yanked": False}}, owner=200),
    # crates.io's read API
    *(
        Row(CARGO_OPEN, "GET", f"/api/v1/crates/demo{path}", 200, anonymous=200)
        for path in (
            "",
            "?include=",
            "/versions",
            "/versions?per_page=1&include=release_tracks",
            "/downloads",
            "/reverse_dependencies",
            "/1.0.0",
        )
    ),
    *(
        Row(CARGO, "GET", f"/api/v1/crates/demo/1.0.0/{path}", 200, anonymous=200)
        for path in ("dependencies", "downloads", "authors")
    ),
    Row(CARGO, "GET", "/api/v1/crates/nothing", 404, anonymous=404),
    *(
        Row(CARGO, "GET", f"/api/v1/{path}", 200, anonymous=200)
        for path in (
            "crates?sort=downloads",
            "keywords",
            "keywords/web",
            "categories",
            "categories/web::client",
            "category_slugs",
            "summary",
            "site_metadata",
            "users/owner",
            "users/{owner_id}/stats",
        )
    ),
    *(
        Row(CARGO, "GET", f"/api/v1/{path}", 200)
        for path in (
            "crates?following=yes",
            "crates/demo/owner_user",
            "crates/demo/owner_team",
            "crates/demo/following",
            "me",
            "me/tokens",
            "me/updates",
        )
    ),
    Row(CARGO, "PUT", "/api/v1/me/tokens", 200, {"api_token": {"name": "ci", "endpoint_scopes": ["yank"]}}),
    Row(CARGO, "DELETE", "/api/v1/me/tokens/4711", 404),
    Row(CARGO, "PUT", "/api/v1/crates/demo/follow", 200),
    Row(CARGO, "DELETE", "/api/v1/crates/demo/follow", 200),
    Row(CARGO, "GET", "/api/v1/users/nobody", 404, anonymous=404),
    Row(CARGO, "GET", "/api/v1/users/4711/stats", 404, anonymous=404),
    Row(CARGO, "GET", "/api/v1/keywords/nothing", 404, anonymous=404),
    Row(CARGO, "GET", "/api/v1/categories/nothing", 404, anonymous=404),
    Row(CARGO, "GET", "/api/v1/crates/demo/1.0.0/readme", 302, anonymous=302),
    Row(CARGO, "GET", "/api/v1/crates/demo/1.0.0/download", 302, anonymous=302),
    Row(CARGO, "GET", "/dl/demo/1.0.0/readme", 404, anonymous=404),
    Row(CARGO, "GET", "/api/v1/crates/demo/owners", 200),
    Row(CARGO, "PUT", "/api/v1/crates/demo/owners", 403, {"users": ["bystander"]}, owner=200),
    Row(CARGO, "DELETE", "/api/v1/crates/demo/owners", 403, {"users": ["banned"]}, owner=200),
    Row(CARGO, "GET", "/index/config.json", 200, anonymous=200),
    Row(CARGO, "GET", "/index/de/mo/demo", 200, anonymous=200),
    Row(CARGO, "GET", "/dl/demo/1.0.0/download", 200, anonymous=200),
    # The mirror
    Row(CARGO, "GET", "/mirror/index/config.json", 200, anonymous=200),
    Row(CARGO, "GET", "/mirror/index/fo/re/foreign", 200, anonymous=200),
    Row(CARGO, "GET", "/mirror/index/de/mo/demo", 404, anonymous=404),  # a local name is never asked upstream
    Row(CARGO, "GET", "/mirror/crates/foreign", 200, anonymous=200),
    Row(CARGO, "GET", "/mirror/crates/demo", 404, anonymous=404),
    Row(CARGO, "GET", "/ktra/api/v1/mirror/foreign/1.0.0/download", 200, anonymous=200),
    Row(CARGO, "GET", "/ktra/api/v1/mirror/foreign/9.9.9/download", 404, anonymous=404),
    *(
        Row(CARGO, "GET", f"/mirror/api/v1/crates/foreign{path}", 200, anonymous=200)
        for path in (
            "",
            "?include=",
            "/versions",
            "/versions?per_page=1&include=release_tracks",
            "/1.0.0",
            "/1.0.0/dependencies",
            "/1.0.0/authors",
            "/owners",
            "/owner_user",
            "/owner_team",
            "/downloads",
            "/1.0.0/downloads",
            "/reverse_dependencies",
        )
    ),
    Row(CARGO, "GET", "/mirror/api/v1/crates?q=foreign", 200, anonymous=200),
    Row(CARGO, "GET", "/mirror/api/v1/crates/nothing", 404, anonymous=404),
    Row(CARGO, "GET", "/mirror/api/v1/crates/foreign/1.0.0/readme", 302, anonymous=302),
    Row(CARGO, "GET", "/mirror/api/v1/crates/foreign/1.0.0/download", 302, anonymous=302),
    Row(CARGO, "GET", "/mirror/crates/foreign/1.0.0/readme", 404, anonymous=404),
    *(
        Row(CARGO, method, f"/mirror/api/v1/crates/{path}", 403, body, anonymous=403)
        for method, path, body in (
            ("PUT", "new", packing.body("fresh")),
            ("DELETE", "foreign", None),
            ("PUT", "foreign/owners", {"users": ["bystander"]}),
            ("DELETE", "foreign/owners", {"users": ["bystander"]}),
            ("PATCH", "foreign/1.0.0", {"version": {"yanked": True}}),
            ("DELETE", "foreign/1.0.0/yank", None),
            ("PUT", "foreign/1.0.0/unyank", None),
        )
    ),
    # Outernet
    Row(open_to_all(FILES), "POST", "/auth", 200, {"client_name": "owner"}),
    Row(open_to_all(FILES), "POST", "/auth_verify", 200, {"client_name": "owner"}),
    Row(FILES, "GET", "/?alive=yes", 200),
    Row(FILES, "GET", "/?since=0", 200),
    Row(FILES, "POST", "/", 403, {"path": "{file}", "serve_path": "fresh"}, owner=200, administrators=200),
    Row(FILES, "GET", "/{file_id}", 200),
    Row(FILES, "GET", "/4711", 404),
    Row(FILES, "PUT", "/{file_id}", 403, {"aired": "yes"}, owner=200, administrators=200),
    Row(FILES, "DELETE", "/{file_id}", 403, owner=200, administrators=200),
]


class World:
    """All principals with their crates, packages, files and credentials; each request is rolled back."""

    def __init__(self) -> None:
        self.client = Client(
            enforce_csrf_checks=True, raise_request_exception=False
        )  # one for all: creating a client is slow
        users = {name: self._open(name) for name in (*LIVE, *CLOSED, "bystander")}
        body = packing.body(toml=packing.manifest(extra='keywords = ["web"]\ncategories = ["web::client"]'))
        publishing.publish(Principal(users["owner"]), BytesIO(body), len(body))
        ownership.add(Principal(users["owner"]), "demo", CLOSED)
        self._open_namespace(Principal(users["owner"]))
        self._mirror()
        self.secrets = {name: self._log_in(name) for name in (*LIVE, *CLOSED)}
        self.placeholders = {
            **self._belongings(),
            **self._file(),
            "owner_id": str(users["owner"].pk),
            "link": self._link(),
        }
        bans.ban(users["banned"], actor=None)
        Machine.objects.filter(name__in=CLOSED).update(is_active=False)
        User.objects.filter(username="deactivated").update(is_active=False)

    def ask(
        self, principal: str, row: Row, method: str | None = None, observe: Callable[[], None] = lambda: None
    ) -> Any:
        """Send the request of a row as a principal, or one by another method and without a body.

        `observe` is called before the changes are rolled back.
        """
        name = principal if principal in self.secrets else "owner"
        secret = self._secret(principal, row.scheme.kind)
        placeholders = {**self.placeholders, "name": name, "secret": secret or "wrong horse"}
        body = row.body if method is None else None
        if isinstance(body, Mapping):
            body = {
                key: value.format(**placeholders) if isinstance(value, str) else value for key, value in body.items()
            }
        headers = {} if secret is None else row.scheme.carry(secret, wrong=principal in WRONG)
        with transaction.atomic():
            answer = self._send(method or row.method, row.path.format(**placeholders), body, headers)
            observe()
            transaction.set_rollback(True)
        if answer.streaming:
            content = answer.getvalue()  # reading to the end closes the file
            return HttpResponse(content, status=answer.status_code, headers=answer.headers)
        return answer

    def status_of(self, principal: str, row: Row, method: str | None = None) -> int | str:
        """Return the status, with a remark when a refusal has another shape than its dialect's."""
        answer = self.ask(principal, row, method)
        keys, status = row.scheme.refusal, int(answer.status_code)
        if status < 400 or keys is None or method == "HEAD" or set(answer.json()) == keys:
            return status
        return f"{status} as {answer.content.decode()}"

    def _secret(self, principal: str, kind: str) -> str | None:
        if principal == "anonymous":
            return None
        return self.secrets["owner"][principal] if principal in WRONG else self.secrets[principal][kind]

    def _send(self, method: str, path: str, body: Mapping[str, Any] | bytes | None, headers: dict[str, str]) -> Any:
        self.client.cookies.clear()
        if isinstance(body, bytes):
            return self.client.generic(method, path, body, "application/octet-stream", headers=headers)
        text = "" if body is None else json.dumps(body)
        return self.client.generic(method, path, text, "application/json", headers=headers)

    def _open(self, name: str) -> User:
        user = registration.register(name, PASSWORD, admin=name in ("administrator", *CLOSED))
        if name in Role.values:
            roles.grant(user, Role(name), actor=None)
        return user

    def _open_namespace(self, owner: Principal) -> None:
        guest = [NewRole("bystander", NamespaceRole.MEMBER)]
        membership.create_namespace(owner, "acme")
        membership.add_members(owner, "acme", guest)
        for name, kind in (("tool", "PUBLIC"), ("secret", "PRIVATE")):
            archive = release_input.Upload(BytesIO(ARCHIVE), len(ARCHIVE))
            releasing.create_package(
                owner, "acme", name, "java", release_input.ReleaseInput(version="1.0.0", type=kind, archive=archive)
            )
        collaboration.add_collaborators(owner, "acme", "tool", guest)

    def _mirror(self) -> None:
        """Store a fresh crate of the mirror, so that no request goes to an upstream."""
        blob = blobs.put(BytesIO(packing.crate("foreign")), store=STORE)
        body = json.dumps({"name": "foreign", "vers": "1.0.0", "cksum": blob.sha256, "yanked": False}).encode() + b"\n"
        checksums = {"1.0.0": blob.sha256}
        CachedIndexFile.objects.create(path="fo/re/foreign", name="foreign", status=200, body=body, checksums=checksums)
        CachedCrate.objects.create(name="foreign", version="1.0.0", sha256=blob.sha256, size=blob.size)

    def _log_in(self, name: str) -> dict[str, str]:
        """Log in everywhere, and return one secret for each kind of credential."""
        by_name = {"username": name, "password": PASSWORD}
        ktra = self._send("POST", f"/ktra/api/v1/login/{name}", {"password": PASSWORD}, {})
        backups = self._send("POST", "/api/stable/auth/login", by_name, {})
        torrust = self._send("POST", "/v1/user/login", {"login": name, "password": PASSWORD}, {})
        yapkg = self._send("POST", "/login", by_name, {"Origin": ORIGIN})
        return {
            "password": PASSWORD,
            "cargo token": ktra.json()["token"],
            "backups session": backups.json()["data"]["token"],
            "torrust session": torrust.json()["data"]["token"],
            "browser session": yapkg.cookies["registry_session"].value,
            "file session": self._machine(name),
            "junk": "junk",
        }

    def _machine(self, name: str) -> str:
        """Open a session of a file client that has the name of an account, and no other link to it."""
        rights = Rights.WRITE if name in ("owner", *GROUPS["administrators"]) else Rights.READ
        return sessions.create_session(
            clients.add_client(name, clients.generate_key(), actor="tests", rights=rights), 3600
        )

    def _file(self) -> dict[str, str]:
        """Register a file on the disk."""
        path = Path(settings.FILE_ROOTS[0]) / "a.txt"
        path.write_text("a file")
        file = catalogue.add_file(Actor("tests"), "served/a.txt", str(path))
        return {"file": str(path), "file_id": str(file.pk)}

    def _belongings(self) -> dict[str, str]:
        owner = self.secrets["owner"]
        key = self._send("POST", "/settings/appids", {"type": "ALL"}, YAPKG.headers(owner["browser session"]))
        whoami = self._send("GET", "/api/stable/auth/whoami", None, BACKUPS.headers(owner["backups session"]))
        return {"appid": key.json()["appid"], "session": whoami.json()["data"]["sessionId"]}

    def _link(self) -> str:
        """Return the token of a verification link, read from the mail."""
        with override_settings(EMAIL_VERIFICATION=True):
            registration.sign_up("erin", PASSWORD, "erin@example.com")
        link = re.search(r"/v1/user/email/verify/(\S+)", str(sent_mails()[-1].body))
        assert link
        return link[1]


@contextmanager
def populated(path: Path) -> Iterator[World]:
    """Yield a populated registry in a transaction that is rolled back; its blobs lie in a directory."""
    disks = {
        store: {"BACKEND": "registry_site.storage.disk.DiskBlobs", "OPTIONS": {"location": directory}}
        for store, directory in (("blobs", path), (STORE, path / STORE))
    }
    changed = {
        "STORAGES": {**settings.STORAGES, **disks},
        "FILE_ROOTS": [str(path)],
        "FILE_HANDSHAKES_PER_MINUTE": 10**6,
    }
    with override_settings(**changed), transaction.atomic():
        yield World()
        transaction.set_rollback(True)


METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")


def api_views(resolver: URLResolver, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Iterate over the routes of DRF views, each with its class."""
    for route, callback in _callbacks(resolver, prefix):
        yield route, callback.cls


def api_routes() -> Iterator[tuple[str, str]]:
    """Iterate over the routes of DRF views, once for each mapped method."""
    for route, callback in _callbacks(get_resolver()):
        yield from ((route, method) for method in METHODS if method in mapped_methods(callback))


def _callbacks(resolver: URLResolver, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for entry in resolver.url_patterns:
        route = prefix + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from _callbacks(entry, route)
        elif isinstance(entry, URLPattern) and hasattr(entry.callback, "cls"):
            yield route, entry.callback


def mapped_methods(view: Any) -> set[str]:
    """Return the methods of a view without HEAD, which goes with GET, and OPTIONS, which no view answers."""
    actions = getattr(view, "actions", None) or {name for name in view.cls.http_method_names if hasattr(view.cls, name)}
    return {method.upper() for method in actions} - {"HEAD", "OPTIONS"}

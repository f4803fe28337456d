"""Who is let in where: a row for each route and documented method, with the status that each of the cast is told."""

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
from django.core import mail
from django.db import transaction
from django.http import HttpResponse
from django.test import Client, override_settings
from django.urls import Resolver404, URLPattern, URLResolver, get_resolver, resolve

from accounts import bans, registration, roles
from accounts.models import Role, User
from accounts.principals import Principal
from crates import ownership, publishing
from crates.mirror.models import STORE, Archive, Entry
from files import catalogue, clients, sessions
from files.actors import Actor
from files.models import Client as Machine
from files.models import Rights
from namespaces import membership
from namespaces.models import Role as NamespaceRole
from packages import collaboration, release_input, releasing
from registry_site.storage import blobs
from tests.support import packing
from tests.support.cast import PASSWORD

OTHER = "battery staple"
ARCHIVE = gzip.compress(bytes(1024))  # a tar of nothing
ORIGIN = "http://testserver"

# The cast. The owner has the crate, the app key and the session that the rows ask for; a user has nothing. Those who
# are banned or deactivated administer and own the crate, too, and logged in before.
LIVE = ("user", "owner", *Role.values, "administrator")
CLOSED = ("banned", "deactivated")
# Of the owner, at other doors.
WRONG = ("cargo token", "backups session", "torrust session", "browser session", "file session", "junk")
GROUPS = {"administrators": (Role.SYSTEM_ADMIN.value, "administrator"), "closed": CLOSED, "wrong": WRONG}


@dataclass(frozen=True)
class Door:
    """Where a dialect reads a credential, and what it tells those who bring none that is good; None: as a user."""

    kind: str
    refusal: frozenset[str] | None
    headers: Callable[[str], dict[str, str]]
    anonymous: int | None = 401
    closed: int | None = 401
    wrong: int | None = 401
    wrong_headers: Callable[[str], dict[str, str]] | None = None
    in_body: bool = False
    reads_openly: bool = False  # its routes let anybody look, whoever may change

    @property
    def cast(self) -> tuple[str, ...]:
        """Who comes to this door."""
        return ("anonymous", *LIVE, *CLOSED, *(kind for kind in WRONG if kind != self.kind))

    def carry(self, secret: str, *, wrong: bool) -> dict[str, str]:
        """The headers that hold a secret, if it is not the body that does."""
        if self.in_body:
            return {}
        return (self.wrong_headers or self.headers)(secret) if wrong else self.headers(secret)


def open_to_all(door: Door) -> Door:
    """A credential counts for nothing there."""
    return replace(door, anonymous=None, closed=None, wrong=None)


def by_password(door: Door, refused: int) -> Door:
    """A row's path and body have `{name}` and `{secret}`."""
    return replace(door, kind="password", in_body=True, anonymous=refused, closed=refused, wrong=refused)


def _bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def _cookie(secret: str) -> dict[str, str]:
    return {"Cookie": f"registry_session={secret}", "Origin": ORIGIN}


def _token(secret: str) -> dict[str, str]:
    return {"Token": secret, "Origin": ORIGIN}


CARGO = Door("cargo token", frozenset({"errors"}), lambda secret: {"Authorization": secret})
BACKUPS = Door(
    "backups session", frozenset({"status", "error", "message", "code", "data"}), _bearer, closed=403
)  # a session that was good once is forbidden there, not unknown
TORRUST = Door("torrust session", frozenset({"error"}), _bearer)
TORRUST_BODY = replace(TORRUST, in_body=True)
TORRUST_VERIFY = replace(TORRUST_BODY, refusal=frozenset({"error", "data"}))
YAPKG = Door("browser session", frozenset({"error", "message"}), _cookie, wrong_headers=_token)
YAPKG_WRITE = replace(YAPKG, reads_openly=True)
YAPKG_READ = replace(YAPKG_WRITE, anonymous=None, closed=None)  # a cookie that is dead is no cookie there
FILES = Door("file session", frozenset({"success", "error", "message"}), _bearer)
DOCUMENTS = open_to_all(replace(CARGO, refusal=None))


class Sample(dict[str, str]):
    """Of what stands in a path: digits fit everywhere."""

    def __missing__(self, key: str) -> str:
        return "1"


class Row:
    """A request, and what it is answered to a user; `others` are principals or groups that are told something else."""

    def __init__(
        self,
        door: Door,
        method: str,
        path: str,
        user: int,
        /,
        body: Mapping[str, Any] | bytes | None = None,
        **others: int,
    ) -> None:
        self.door, self.method, self.path, self.body = door, method, path, body
        self.route = _route(path.partition("?")[0].format_map(Sample()))
        at_the_door = {"anonymous": door.anonymous, "closed": door.closed, "wrong": door.wrong}
        self.expected = dict.fromkeys(door.cast, user)
        assert set(others) <= {*self.expected, *GROUPS}, f"{self}: nobody of the cast is called so"
        for name, status in {**at_the_door, **others}.items():
            for principal in GROUPS.get(name, (name,)):
                if principal in self.expected and status is not None:
                    self.expected[principal] = status

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    def expected_of_other_methods(self, method: str) -> dict[str, int]:
        """405, except for who may not enter at all: they are told no more than by the documented methods."""
        outside = set() if self.door.in_body else {name for name in self.expected if name not in LIVE}
        if self.door.reads_openly:
            refused = outside.intersection(WRONG) if method in ("GET", "HEAD", "OPTIONS") else outside
            return {name: 401 if name in refused else 405 for name in self.expected}
        return {
            name: status if name in outside and status in (401, 403) else 405 for name, status in self.expected.items()
        }


def _route(path: str) -> str:
    """Of the map; for what is not on it, the path itself, which a test finds."""
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
    """The owner's namespace with a public and a private package, at which a bystander is a member."""
    ours = f"/{prefix}/acme"
    tool, secret = f"{ours}/packages/tool", f"{ours}/packages/secret"
    may: dict[str, Any] = {"owner": 200, "administrators": 200}
    return [
        Row(YAPKG_WRITE, "POST", f"/{prefix}", 200, {"namespace": "fresh"}),
        Row(YAPKG_READ, "GET", ours, 200),
        Row(YAPKG_READ, "GET", f"/{prefix}/owner", 404),
        Row(YAPKG_WRITE, "DELETE", ours, 403, **may),
        Row(YAPKG_WRITE, "POST", f"{ours}/members", 403, GUEST, **may),
        Row(YAPKG_WRITE, "PATCH", f"{ours}/members/bystander", 403, {"role": "READ_ONLY"}, **may),
        Row(YAPKG_WRITE, "DELETE", f"{ours}/members/bystander", 403, **may),
        Row(YAPKG_READ, "GET", f"{ours}/packages", 200),
        Row(YAPKG_WRITE, "POST", f"{ours}/packages", 403, NEW_PACKAGE, **may),
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


# Door, method, a path that is there, what a user is told, a body; then whoever is told something else. Several rows
# may ask the same of a route. `{name}`, `{secret}` and the names of `World.places` are filled in.
TABLE = [
    # The description of the API
    Row(DOCUMENTS, "GET", "/docs/api", 200),
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
    Row(open_to_all(CARGO), "GET", "/me", 200),
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
    Row(open_to_all(TORRUST), "GET", "/v1/user/email/verify/{link}", 200),
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
    Row(YAPKG, "GET", "/users/owner", 200, anonymous=200, closed=200),
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
    Row(CARGO, "DELETE", "/api/v1/crates/demo/1.0.0/yank", 403, owner=200),
    Row(CARGO, "PUT", "/api/v1/crates/demo/1.0.0/unyank", 403, owner=200),
    Row(CARGO, "GET", "/api/v1/crates/demo/owners", 200),
    Row(CARGO, "PUT", "/api/v1/crates/demo/owners", 403, {"users": ["bystander"]}, owner=200),
    Row(CARGO, "DELETE", "/api/v1/crates/demo/owners", 403, {"users": ["banned"]}, owner=200),
    Row(CARGO, "GET", "/index/config.json", 200, anonymous=200),
    Row(CARGO, "GET", "/index/de/mo/demo", 200, anonymous=200),
    Row(CARGO, "GET", "/dl/demo/1.0.0/download", 200, anonymous=200),
    # The mirror
    Row(CARGO, "GET", "/mirror/index/config.json", 200, anonymous=200),
    Row(CARGO, "GET", "/mirror/index/fo/re/foreign", 200, anonymous=200),
    Row(CARGO, "GET", "/mirror/index/de/mo/demo", 404, anonymous=404),  # ours, which is never asked for elsewhere
    Row(CARGO, "GET", "/mirror/crates/foreign", 200, anonymous=200),
    Row(CARGO, "GET", "/mirror/crates/demo", 404, anonymous=404),
    Row(CARGO, "GET", "/ktra/api/v1/mirror/foreign/1.0.0/download", 200, anonymous=200),
    Row(CARGO, "GET", "/ktra/api/v1/mirror/foreign/9.9.9/download", 404, anonymous=404),
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
    """The cast with what they hold; what a request changes in it is undone."""

    def __init__(self) -> None:
        self.client = Client(enforce_csrf_checks=True, raise_request_exception=False)  # one: to make it takes its time
        users = {name: self._open(name) for name in (*LIVE, *CLOSED, "bystander")}
        publishing.publish(Principal(users["owner"]), BytesIO(packing.body()), len(packing.body()))
        ownership.add(Principal(users["owner"]), "demo", CLOSED)
        self._open_namespace(Principal(users["owner"]))
        self._mirror()
        self.secrets = {name: self._log_in(name) for name in (*LIVE, *CLOSED)}
        self.places = {**self._belongings(), **self._file(), "owner_id": str(users["owner"].pk), "link": self._link()}
        bans.ban(users["banned"], actor=None)
        Machine.objects.filter(name__in=CLOSED).update(is_active=False)
        User.objects.filter(username="deactivated").update(is_active=False)

    def ask(self, principal: str, row: Row, method: str | None = None) -> Any:
        """What the principal is answered to the row's request, or to one by another method without a body."""
        name = principal if principal in self.secrets else "owner"
        secret = self._secret(principal, row.door.kind)
        places = {**self.places, "name": name, "secret": secret or "wrong horse"}
        body = row.body if method is None else None
        if isinstance(body, Mapping):
            body = {key: value.format(**places) if isinstance(value, str) else value for key, value in body.items()}
        headers = {} if secret is None else row.door.carry(secret, wrong=principal in WRONG)
        with transaction.atomic():
            answer = self._send(method or row.method, row.path.format(**places), body, headers)
            transaction.set_rollback(True)
        if answer.streaming:
            whole = answer.getvalue()  # to the end, where it closes its file
            return HttpResponse(whole, status=answer.status_code, headers=answer.headers)
        return answer

    def told(self, principal: str, row: Row, method: str | None = None) -> int | str:
        """The status; with a remark, when a refusal is not in the shape of its dialect."""
        answer = self.ask(principal, row, method)
        keys, status = row.door.refusal, int(answer.status_code)
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
        guest = [membership.Invitation("bystander", NamespaceRole.MEMBER)]
        membership.create_namespace(owner, "acme")
        membership.add_members(owner, "acme", guest)
        for name, kind in (("tool", "PUBLIC"), ("secret", "PRIVATE")):
            archive = release_input.Upload(BytesIO(ARCHIVE), len(ARCHIVE))
            releasing.create_package(
                owner, "acme", name, "java", release_input.ReleaseInput(version="1.0.0", type=kind, archive=archive)
            )
        collaboration.add_collaborators(owner, "acme", "tool", guest)

    def _mirror(self) -> None:
        """A crate of elsewhere that has just been fetched, so that nobody is asked for it."""
        blob = blobs.put(BytesIO(packing.crate("foreign")), store=STORE)
        body = json.dumps({"name": "foreign", "vers": "1.0.0", "cksum": blob.sha256, "yanked": False}).encode() + b"\n"
        checksums = {"1.0.0": blob.sha256}
        Entry.objects.create(path="fo/re/foreign", name="foreign", status=200, body=body, checksums=checksums)
        Archive.objects.create(name="foreign", version="1.0.0", sha256=blob.sha256, size=blob.size)

    def _log_in(self, name: str) -> dict[str, str]:
        """One secret for each kind of credential, from each door."""
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
        """A client of the file registry that is called as an account is, and has nothing to do with it."""
        rights = Rights.WRITE if name in ("owner", *GROUPS["administrators"]) else Rights.READ
        return sessions.open_for(clients.add(name, clients.new_key(), actor="tests", rights=rights), 3600)

    def _file(self) -> dict[str, str]:
        """One that a client has registered, on the disk."""
        place = Path(settings.FILE_ROOTS[0]) / "a.txt"
        place.write_text("a file")
        file = catalogue.add(Actor("tests"), "served/a.txt", str(place))
        return {"file": str(place), "file_id": str(file.pk)}

    def _belongings(self) -> dict[str, str]:
        owner = self.secrets["owner"]
        key = self._send("POST", "/settings/appids", {"type": "ALL"}, YAPKG.headers(owner["browser session"]))
        whoami = self._send("GET", "/api/stable/auth/whoami", None, BACKUPS.headers(owner["backups session"]))
        return {"appid": key.json()["appid"], "session": whoami.json()["data"]["sessionId"]}

    def _link(self) -> str:
        """The token of a link to an e-mail address, from a mail."""
        with override_settings(EMAIL_VERIFICATION=True):
            registration.sign_up("erin", PASSWORD, "erin@example.com")
        found = re.search(r"/v1/user/email/verify/(\S+)", str(mail.outbox[-1].body))
        assert found
        return found[1]


@contextmanager
def populated(place: Path) -> Iterator[World]:
    """A world in a transaction that is undone at the end; its blobs are in a directory."""
    disks = {
        store: {"BACKEND": "registry_site.storage.blobs.DiskBlobs", "OPTIONS": {"location": directory}}
        for store, directory in (("blobs", place), (STORE, place / STORE))
    }
    changed = {
        "STORAGES": {**settings.STORAGES, **disks},
        "FILE_ROOTS": [str(place)],
        "FILE_HANDSHAKES_PER_MINUTE": 10**6,
    }
    with override_settings(**changed), transaction.atomic():
        yield World()
        transaction.set_rollback(True)


METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")


def api_routes(resolver: URLResolver | None = None, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Each route of the map that is answered by DRF, with each method that is mapped."""
    for entry in (resolver or get_resolver()).url_patterns:
        path = prefix + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from api_routes(entry, path)
        elif isinstance(entry, URLPattern) and hasattr(entry.callback, "cls"):
            yield from ((path, method) for method in METHODS if method in mapped_methods(entry.callback))


def mapped_methods(view: Any) -> set[str]:
    """The methods that a view says it has; HEAD goes with GET, and no view of ours answers OPTIONS."""
    actions = getattr(view, "actions", None) or {name for name in view.cls.http_method_names if hasattr(view.cls, name)}
    return {method.upper() for method in actions} - {"HEAD", "OPTIONS"}

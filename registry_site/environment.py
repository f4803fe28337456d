"""Typed readers of `REGISTRY_*` variables: each value is understood, or the start stops with one clear line."""

import ipaddress
import os
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

from registry_site.origins import Hosts, origin_of, with_plain_origin

T = TypeVar("T")

LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
HOST = rf"\[[0-9A-Fa-f:.]+\]|{LABEL}(?:\.{LABEL})*"
PORT = r"([0-9]{1,5})"
LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]")
MAIL_PORTS = {"smtp": 25, "smtp+tls": 587, "smtp+ssl": 465}
UNLIMITED = 10**15
BUCKET_LABEL = "[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
BUCKET = rf"(?=[a-z0-9.-]{{3,63}}(?:[/?]|$))(?!(?:[0-9]+\.){{3}}[0-9]+(?:[/?]|$)){BUCKET_LABEL}(?:\.{BUCKET_LABEL})*"
REGION = "(?![0-9]+$)(?!-)[a-z0-9-]{1,63}(?<!-)"
MAX_PREFIX_LENGTH = 900  # a key has 1024 bytes at most, and ours end with two levels and a hash
# Segments without `.` and `..`, which some services resolve.
BLOBS_PREFIX = r"(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)*"


HIDDEN = "…"
PLAIN_PARAMETERS = ("endpoint", "region", "redirect")  # of a URL's query; others can be passwords


@dataclass(frozen=True)
class Reading:
    """A variable as it was read: its value for staff, without secrets, and whether that is the default."""

    name: str
    value: str
    source: str  # environment, default, or a file
    is_secret: bool = False


class Environment:
    """Reader of variables that share a prefix; an unset or empty variable means its default.

    Every reader raises `ImproperlyConfigured` with the variable, its value and the values that it expects.
    `readings` collects the variables that were read, so that misspelt ones can be pointed out, and staff can look.
    """

    def __init__(self, prefix: str, variables: Mapping[str, str] = os.environ) -> None:
        self.prefix = prefix
        self.variables = variables
        self.readings: dict[str, Reading] = {}

    def refusal(self, name: str, expected: str) -> ImproperlyConfigured:
        """Return the error for a variable that is not understood."""
        value = without_login(self.variables.get(self.prefix + name, ""))  # no password in a log
        return ImproperlyConfigured(f"{self.prefix}{name}={value!r} is not understood: {expected}.")

    def read(self, name: str, default: T, convert: Callable[[str], T], expected: str) -> T:
        """Convert the value of a variable; a `ValueError` of `convert` becomes the refusal."""
        variable = self.prefix + name
        value = self.variables.get(variable, "").strip()
        if not value:
            self.readings[variable] = Reading(variable, text_of_default(default), "default")
            return default
        self.readings[variable] = Reading(variable, without_passwords(value), "environment")
        try:
            return convert(value)
        except ValueError as error:
            raise self.refusal(name, expected) from error

    def text(self, name: str, default: str) -> str:
        return self.read(name, default, str, "give a text")

    def number(self, name: str, default: int, minimum: int = 1, maximum: int = UNLIMITED) -> int:
        def convert(value: str) -> int:
            if not re.fullmatch(r"[0-9]{1,15}", value) or not minimum <= int(value) <= maximum:
                raise ValueError(value)
            return int(value)

        upper = "or more" if maximum == UNLIMITED else f"to {maximum}"
        return self.read(name, default, convert, f"give a whole number, {minimum} {upper}")

    def choice(self, name: str, default: str, allowed: Collection[str]) -> str:
        def convert(value: str) -> str:
            if value not in allowed:
                raise ValueError(value)
            return value

        return self.read(name, default, convert, f"give one of {', '.join(allowed)}")

    def flag(self, name: str, default: bool) -> bool:
        return self.choice(name, "1" if default else "0", ("0", "1")) == "1"

    def words(self, name: str, default: str) -> list[str]:
        return self.text(name, default).split()

    def texts(self, name: str) -> list[str]:
        """Read texts that may have blanks in them, separated by commas."""
        return [text.strip() for text in self.text(name, "").split(",") if text.strip()]

    def secret(self, name: str) -> str:
        """Read a secret from the variable, or from the first line of the file that `NAME_FILE` names.

        Setting both is refused: one of them would have no effect.
        """
        value, path = self.text(name, ""), self.file(f"{name}_FILE")
        self._hide(name, path)
        if path is None:
            return value
        if value:
            raise self.refusal(f"{name}_FILE", f"{self.prefix}{name} is set, too; give one of them")
        try:
            secret = next(iter(path.read_text(encoding="utf-8").splitlines()), "").strip()
        except UnicodeDecodeError as error:
            raise self.refusal(f"{name}_FILE", "the file is no text") from error
        if not secret:
            raise self.refusal(f"{name}_FILE", "the file is empty")
        return secret

    def _hide(self, name: str, path: Path | None) -> None:
        """Remember of a secret only whether it is set, and where."""
        reading = self.readings[self.prefix + name]
        source = reading.source if path is None else f"file {path}"
        value = "" if source == "default" else HIDDEN
        self.readings[self.prefix + name] = replace(reading, value=value, source=source, is_secret=True)

    def networks(self, name: str) -> str:
        """Read addresses and networks in CIDR form, separated by blanks."""

        def convert(value: str) -> str:
            for network in value.split():
                ipaddress.ip_network(network, strict=False)
            return value

        return self.read(name, "", convert, "give addresses and networks such as 10.0.0.0/8, separated by blanks")

    def file(self, name: str) -> Path | None:
        def convert(value: str) -> Path:
            path = Path(value).resolve()
            if not os.access(path, os.R_OK) or not path.is_file():
                raise ValueError(value)
            return path

        return self.read(name, None, convert, "give the path of a file that this user can read")

    def directories(self, name: str) -> list[str]:
        """Read absolute paths of directories that exist, separated by colons, as in PATH."""

        def convert(value: str) -> list[str]:
            paths = [os.path.normpath(path) for path in value.split(os.pathsep) if path]
            if not all(os.path.isabs(path) and os.path.isdir(path) for path in paths):
                raise ValueError(value)
            return paths

        return self.read(name, [], convert, "give absolute paths of directories that are there, separated by colons")

    def address(self, name: str, default: str) -> tuple[str, int]:
        """Read `host:port`, the host of IPv6 in brackets → (host, port)."""

        def convert(value: str) -> tuple[str, int]:
            match = re.fullmatch(rf"({HOST}):{PORT}", value)
            if not match:
                raise ValueError(value)
            return check_host(match[1]), parse_port(match[2])

        return self.read(name, convert(default), convert, "give host:port, such as 127.0.0.1:8000")

    def origin(self, name: str, default: str) -> str:
        """Read scheme, host and perhaps a port, as browsers write an origin: lower-case, without the default port."""

        return self.read(name, default, parse_origin, "give scheme and host only, such as https://crates.example.com")

    def origins(self, name: str) -> list[str]:
        """Read origins, separated by blanks."""

        def convert(value: str) -> list[str]:
            return [parse_origin(text) for text in value.split()]

        return self.read(name, [], convert, "give schemes and hosts only, such as https://crates, separated by blanks")

    def hosts(self, name: str) -> Hosts:
        """Read names of hosts, addresses and networks in CIDR form, separated by blanks."""
        return self.read(
            name, Hosts(), parse_hosts, "give names of hosts and networks such as 10.0.0.0/8, separated by blanks"
        )

    def unknown_names(self) -> list[str]:
        """Return the variables with our prefix that nothing reads: most likely misspelt."""
        return sorted(name for name in self.variables if name.startswith(self.prefix) and name not in self.readings)


def without_login(value: str) -> str:
    """Return a value without the name and the password before the host of a URL."""
    return re.sub(r"(?s)(?<=//).*@", f"{HIDDEN}@", value)


def without_passwords(value: str) -> str:
    """Return a value without what can be a password in a URL: before its host, or in its query."""
    text = without_login(value)
    if "://" not in text:
        return text
    plain = "|".join(PLAIN_PARAMETERS)
    return re.sub(rf"([?&])(?!(?:{plain})=)([^=&\s]*)=[^&\s]*", rf"\1\2={HIDDEN}", text)


def text_of_default(default: object) -> str:
    """Return a default as staff read it; of the settings of a store, a database or mails the part that tells."""
    if isinstance(default, Mapping):
        options = default.get("OPTIONS", {})
        backend = default.get("BACKEND") or default.get("EMAIL_BACKEND", "")
        return str(default.get("NAME") or options.get("location") or backend)
    if isinstance(default, tuple):
        return ":".join(map(str, default))
    if isinstance(default, list):
        return " ".join(map(str, default))
    return "" if default is None or isinstance(default, Hosts) else str(default)


# --- Parsers: each raises ValueError for a text that it does not understand -------------------------------------


def check_host(text: str) -> str:
    if text.startswith("["):
        ipaddress.IPv6Address(text.strip("[]"))
    return text


def parse_port(text: str) -> int:
    if not 0 < int(text) < 65536:
        raise ValueError(text)
    return int(text)


def parse_origin(text: str) -> str:
    match = re.fullmatch(rf"https?://({HOST})(?::{PORT})?/?", text.lower())
    if not match:
        raise ValueError(text)
    check_host(match[1])
    parse_port(match[2] or "1")
    return origin_of(text)


def parse_hosts(text: str) -> Hosts:
    names, networks = set(), []
    for word in text.lower().split():
        try:
            networks.append(ipaddress.ip_network(word, strict=False))
        except ValueError:
            if not re.fullmatch(HOST, word):
                raise
            names.add(word)
    return Hosts(frozenset(names), networks)


def url_host(url: str) -> str:
    """Return the host of a URL, that of IPv6 in brackets."""
    host = urlsplit(url).hostname or ""
    return f"[{host}]" if ":" in host else host


def names_of_host(origin: str) -> list[str]:
    """Return an origin, and for one on this machine the same under all names of loopback."""
    host = url_host(origin)
    if host not in LOOPBACK_HOSTS:
        return [origin]
    return [origin, *(origin.replace(host, name, 1) for name in LOOPBACK_HOSTS if name != host)]


def parse_url_path(text: str) -> str:
    """Parse the path of a URL, without a slash at its end."""
    if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", text):
        raise ValueError(text)
    return text


def parse_index_url(text: str) -> str:
    """Parse the URL of a sparse index, with or without cargo's `sparse+` → the URL with a slash at its end."""
    url = text.removeprefix("sparse+")
    if not re.fullmatch(r"https?://[^/@?#\s]+(/[^?#\s]*)?", url) or urlsplit(url).port == 0:
        raise ValueError(text)
    return with_plain_origin(url if url.endswith("/") else f"{url}/")


def parse_index_urls(text: str) -> list[str]:
    return [parse_index_url(url) for url in text.split()]


def parse_index_tokens(path: str) -> dict[str, str]:
    """Parse a file with the URL of an index and its token in each line → the tokens by URL."""
    try:
        lines = Path(path).read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(path) from error
    pairs = [line.split() for line in lines if line.strip()]
    if not all(len(pair) == 2 for pair in pairs):
        raise ValueError(path)
    return {parse_index_url(url): token for url, token in pairs}


def parse_issuer(text: str) -> str:
    """Parse the URL of an OpenID provider: https, or http on this machine. It is kept to the letter.

    OpenID Connect Discovery allows no query, and compares the issuer of each token with this text.
    """
    parts = urlsplit(text)
    if "@" in parts.netloc or parts.port == 0 or not re.fullmatch(r"[!-~]+", text):
        raise ValueError(text)
    is_loopback = parts.hostname in ("localhost", "127.0.0.1", "::1")
    is_secure = parts.scheme == "https" or (parts.scheme == "http" and is_loopback)
    if not is_secure or not parts.hostname or parts.username or parts.query or parts.fragment:
        raise ValueError(text)
    return text


def parse_email_url(url: str) -> dict[str, Any]:
    """Parse the URL of an SMTP server → Django's `EMAIL_*` settings."""
    parts = urlsplit(url)
    if parts.scheme not in MAIL_PORTS or not parts.hostname or parts.port == 0 or parts.path.strip("/") or parts.query:
        raise ValueError(url)
    config: dict[str, Any] = environ.Env.email_url_config(url)
    return config | {
        "EMAIL_BACKEND": "registry_site.mail.EmailBackend",
        "EMAIL_PORT": parts.port or MAIL_PORTS[parts.scheme],
    }


def parse_database_url(url: str) -> dict[str, Any]:
    """Parse the URL of a SQLite file or a PostgreSQL database → an entry of `DATABASES`."""
    parts = urlsplit(url)
    is_plain = not (parts.netloc or parts.query or parts.fragment)
    if parts.scheme == "sqlite" and is_plain and parts.path[1:] not in ("", ":memory:"):
        return sqlite_database(parts.path[1:])
    if re.match("postgres(ql)?://", url) and parts.path[1:] and parts.port != 0:
        return postgresql_database(url)
    raise ValueError(url)


def sqlite_database(path: str) -> dict[str, Any]:
    return {
        "ENGINE": "registry_site.sqlite",
        "NAME": path,
        "CONN_MAX_AGE": 600,
        "OPTIONS": {
            # IMMEDIATE takes the write lock at the start of a transaction, where SQLite waits for it; a transaction
            # that reads first and writes later would be refused at once with "database is locked".
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            # FULL syncs the write-ahead log at each commit: a power cut loses nothing that was answered. For
            # transactions `registry_site.sqlite.log_sync` does that.
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
        },
    }


def postgresql_database(url: str) -> dict[str, Any]:
    config: dict[str, Any] = environ.Env.db_url_config(url)
    limits = {
        "connect_timeout": 5,
        "options": "-c statement_timeout=30s -c lock_timeout=10s -c idle_in_transaction_session_timeout=60s",
    }
    return config | {
        "CONN_MAX_AGE": 600,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": config.get("OPTIONS", {}) | limits,
    }


def parse_cache_url(url: str) -> dict[str, Any]:
    """Parse the URL of a Redis server → an entry of `CACHES`."""
    parts = urlsplit(url)
    if parts.scheme not in ("redis", "rediss") or not parts.hostname or parts.port == 0 or parts.query:
        raise ValueError(url)
    if not re.fullmatch(r"(/[0-9]{0,5})?", parts.path) or parts.fragment:
        raise ValueError(url)
    return {
        "BACKEND": "registry_site.shared_cache.SharedCache",
        "LOCATION": url,
        "KEY_PREFIX": "entrepot",
        "OPTIONS": {
            "serializer": "registry_site.shared_cache.IntegerSerializer",
            # A request waits for a counter: a Redis server that does not answer must not stop it for long.
            "socket_connect_timeout": 1,
            "socket_timeout": 1,
        },
    }


def parse_blobs_url(url: str) -> dict[str, Any]:
    """Parse `s3://bucket/prefix?…` → an entry of `STORAGES`. A bucket has a name that S3 allows."""
    match = re.fullmatch(rf"s3://({BUCKET})(/{BLOBS_PREFIX})?/?(?:\?([^#]*))?", url)
    if not match:
        raise ValueError(url)
    bucket, prefix, query_text = match.groups(default="")
    pairs = parse_qsl(query_text, keep_blank_values=True, strict_parsing=True) if query_text else []
    query = dict(pairs)
    if len(query) < len(pairs) or set(query) - {"endpoint", "region", "redirect"}:
        raise ValueError(url)
    if query.get("redirect", "0") not in ("0", "1") or not re.fullmatch(REGION, query.get("region", "us-east-1")):
        raise ValueError(url)
    if len(prefix) > MAX_PREFIX_LENGTH:
        raise ValueError(url)
    return {
        "BACKEND": "registry_site.storage.s3.S3Blobs",
        "OPTIONS": {
            "bucket_name": bucket,
            "location": prefix.strip("/"),
            "endpoint_url": parse_endpoint(query["endpoint"]) if "endpoint" in query else None,
            "region_name": query.get("region", "us-east-1"),
            "redirect_clients": query.get("redirect") == "1",
        },
    }


def parse_endpoint(url: str) -> str:
    """Parse the URL of an S3 service: an origin, perhaps with a path."""
    match = re.fullmatch(rf"([^/]+//[^/]+)(/{BLOBS_PREFIX})?/?", url)
    if not match:
        raise ValueError(url)
    return parse_origin(match[1]) + (match[2] or "")


def is_same_store(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Return whether two entries of `STORAGES` may keep their bytes at the same place."""
    return bool(store_identity(one["OPTIONS"]) == store_identity(other["OPTIONS"]))


def store_identity(options: dict[str, Any]) -> Any:
    """Return what all settings for one place have in common.

    That of S3 is without the host: one service has many names. That of a directory sees through links and mounts.
    """
    if "bucket_name" in options:
        path = urlsplit(options["endpoint_url"] or "").path
        return f"{path}/{options['bucket_name']}/{options['location']}".rstrip("/")
    directory: Path = options["location"]
    if not directory.exists():
        return directory
    status = directory.stat()
    return status.st_dev, status.st_ino

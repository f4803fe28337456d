"""Typed readers of `REGISTRY_*` variables: each value is understood, or the start stops with one clear line."""

import ipaddress
import os
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TypeVar

from django.core.exceptions import ImproperlyConfigured

T = TypeVar("T")

HOST = r"\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?"
PORT = r"([0-9]{1,5})"


def _host(text: str) -> str:
    if text.startswith("["):
        ipaddress.IPv6Address(text.strip("[]"))
    return text


def _port(text: str) -> int:
    if not 0 < int(text) < 65536:
        raise ValueError(text)
    return int(text)


class Environment:
    """Reads variables that share a prefix; an unset or empty variable means its default.

    Every reader raises `ImproperlyConfigured` with the variable, its value and what would be understood.
    `names` collects what was asked for, so that a misspelt variable can be pointed out.
    """

    def __init__(self, prefix: str, variables: Mapping[str, str] = os.environ) -> None:
        self.prefix = prefix
        self.variables = variables
        self.names: set[str] = set()

    def refuse(self, name: str, wanted: str) -> ImproperlyConfigured:
        value = re.sub(r"(?s)(?<=//).*@", "…@", self.variables.get(self.prefix + name, ""))  # no password in a log
        return ImproperlyConfigured(f"{self.prefix}{name}={value!r} is not understood: {wanted}.")

    def read(self, name: str, default: T, convert: Callable[[str], T], wanted: str) -> T:
        self.names.add(self.prefix + name)
        raw = self.variables.get(self.prefix + name, "").strip()
        if not raw:
            return default
        try:
            return convert(raw)
        except ValueError as error:
            raise self.refuse(name, wanted) from error

    def text(self, name: str, default: str) -> str:
        return self.read(name, default, str, "give a text")

    def number(self, name: str, default: int, minimum: int = 1, maximum: int = 10**15) -> int:
        def convert(raw: str) -> int:
            if not re.fullmatch(r"[0-9]{1,15}", raw) or not minimum <= int(raw) <= maximum:
                raise ValueError(raw)
            return int(raw)

        upper = "or more" if maximum == 10**15 else f"to {maximum}"
        return self.read(name, default, convert, f"give a whole number, {minimum} {upper}")

    def choice(self, name: str, default: str, allowed: Collection[str]) -> str:
        def convert(raw: str) -> str:
            if raw not in allowed:
                raise ValueError(raw)
            return raw

        return self.read(name, default, convert, f"give one of {', '.join(allowed)}")

    def flag(self, name: str, default: bool) -> bool:
        return self.choice(name, "1" if default else "0", ("0", "1")) == "1"

    def words(self, name: str, default: str) -> list[str]:
        return self.text(name, default).split()

    def texts(self, name: str) -> list[str]:
        """Texts that can have blanks in them, separated by commas."""
        return [text.strip() for text in self.text(name, "").split(",") if text.strip()]

    def secret(self, name: str) -> str:
        """The variable itself, or the first line of the file that `NAME_FILE` names; both at once is a mistake."""
        given, path = self.text(name, ""), self.file(f"{name}_FILE")
        if path is None:
            return given
        if given:
            raise self.refuse(f"{name}_FILE", f"{self.prefix}{name} is set, too; give one of them")
        try:
            first = next(iter(path.read_text(encoding="utf-8").splitlines()), "").strip()
        except UnicodeDecodeError as error:
            raise self.refuse(f"{name}_FILE", "the file is no text") from error
        if not first:
            raise self.refuse(f"{name}_FILE", "the file is empty")
        return first

    def networks(self, name: str) -> str:
        """Addresses and networks in CIDR form, separated by blanks."""

        def convert(raw: str) -> str:
            for text in raw.split():
                ipaddress.ip_network(text, strict=False)
            return raw

        return self.read(name, "", convert, "give addresses and networks such as 10.0.0.0/8, separated by blanks")

    def file(self, name: str) -> Path | None:
        def convert(raw: str) -> Path:
            path = Path(raw).resolve()
            if not os.access(path, os.R_OK) or not path.is_file():
                raise ValueError(raw)
            return path

        return self.read(name, None, convert, "give the path of a file that this user can read")

    def directories(self, name: str) -> list[str]:
        """Absolute paths of directories that are there, separated by colons, as in PATH."""

        def convert(raw: str) -> list[str]:
            paths = [os.path.normpath(path) for path in raw.split(os.pathsep) if path]
            if not all(os.path.isabs(path) and os.path.isdir(path) for path in paths):
                raise ValueError(raw)
            return paths

        return self.read(name, [], convert, "give absolute paths of directories that are there, separated by colons")

    def address(self, name: str, default: str) -> tuple[str, int]:
        """`host:port`, the host of IPv6 in brackets → (host, port)."""

        def convert(raw: str) -> tuple[str, int]:
            match = re.fullmatch(rf"({HOST}):{PORT}", raw)
            if not match:
                raise ValueError(raw)
            return _host(match[1]), _port(match[2])

        return self.read(name, convert(default), convert, "give host:port, such as 127.0.0.1:8000")

    def origin(self, name: str, default: str) -> str:
        """Scheme, host and perhaps a port, as browsers write an origin: lower-case, without the usual port."""

        def convert(raw: str) -> str:
            match = re.fullmatch(rf"(https?)://({HOST})(?::{PORT})?/?", raw.lower())
            if not match:
                raise ValueError(raw)
            scheme, host, port = match.groups()
            usual = {"http": "80", "https": "443"}[scheme]
            return f"{scheme}://{_host(host)}" + (f":{_port(port)}" if port and port != usual else "")

        return self.read(name, default, convert, "give scheme and host only, such as https://crates.example.com")

    def unknown(self) -> list[str]:
        """Variables with our prefix that nothing reads: most likely misspelt."""
        return sorted(n for n in self.variables if n.startswith(self.prefix) and n not in self.names)

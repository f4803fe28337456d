"""Lines to copy into a shell, which fetch the archive of a version or publish a package. Pure."""

import shlex
from dataclasses import dataclass

from packages import ecosystems


@dataclass(frozen=True)
class FetchLines:
    """Commands of a shell; `log_in` and `npm` are empty where they do not apply."""

    log_in: str
    curl: str
    check: str
    npm: str


def lines_of(url: str, filename: str, sha256: str, ecosystem: str, *, log_in: str = "") -> FetchLines:
    """Return the lines for the archive at `url`; with `log_in`, a line of `log_in_line`, for those who need it."""
    cookies = " -b cookies" if log_in else ""
    return FetchLines(
        log_in=log_in,
        curl=f"curl -fLOJ{cookies} {shlex.quote(url)}",
        check=f"echo {shlex.quote(f'{sha256}  {filename}')} | sha256sum -c",
        npm=f"npm install {shlex.quote(url)}" if ecosystems.has_scopes(ecosystem) and not log_in else "",
    )


def log_in_line(url: str, username: str, *, needs_code: bool) -> str:
    """Return the line that stores the cookie of a log-in in a file; with `needs_code`, it has a second factor."""
    body = f'{{"username": "{username or "NAME"}", "password": "PASSWORD"}}'
    code = " -H 'X-OTP: CODE'" if needs_code else ""
    return f"curl -f -c cookies -H 'Content-Type: application/json'{code} -d {shlex.quote(body)} {url}"


def publish_line(url: str) -> str:
    """Return the line that publishes the first version of a package, behind a log-in; `url` is its namespace's."""
    fields = "-F package_name=NAME -F version=1.0.0 -F field=npm -F status=RELEASE -F file=@ARCHIVE.tgz"
    return f"curl -b cookies {fields} {shlex.quote(url)}"

"""Lines to copy that fetch the archive of a version. Pure."""

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


def lines_of(
    url: str, filename: str, sha256: str, ecosystem: str, *, log_in_url: str = "", username: str = ""
) -> FetchLines:
    """Return the lines for the archive at `url`; with `log_in_url` for those who have to log in first."""
    log_in = cookies = ""
    if log_in_url:
        body = f'{{"username": "{username or "NAME"}", "password": "PASSWORD"}}'
        log_in = f"curl -f -c cookies -H 'Content-Type: application/json' -d {shlex.quote(body)} {log_in_url}"
        cookies = " -b cookies"
    return FetchLines(
        log_in=log_in,
        curl=f"curl -fLOJ{cookies} {shlex.quote(url)}",
        check=f"echo {shlex.quote(f'{sha256}  {filename}')} | sha256sum -c",
        npm=f"npm install {shlex.quote(url)}" if ecosystems.has_scopes(ecosystem) and not log_in_url else "",
    )

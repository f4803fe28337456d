"""The registries that are mirrored: where their index and their files are. Nobody else is ever asked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any
from urllib.parse import quote, urljoin, urlsplit

from django.conf import settings
from django.core.cache import cache

from crates.mirror import index_lines, metrics
from registry_site import http_client
from registry_site.errors import Gone, NotFound, RegistryError, UnavailableForLegalReasons
from registry_site.http import strict_json

MAX_INDEX_FILE_BYTES = 64 * 1024 * 1024  # bytes
MAX_CONFIG_BYTES = 64 * 1024
MAX_CRATE_BYTES = 1024 * 1024 * 1024
MAX_REDIRECTS = 3
CONFIG_CACHE_SECONDS = 3600
REDIRECT_STATUSES = (301, 302, 303, 307, 308)
ABSENCE_ERRORS: dict[int, type[NotFound]] = {
    404: NotFound,
    410: Gone,
    451: UnavailableForLegalReasons,
}  # how an upstream says that there is none


class UpstreamFault(Exception):
    """The upstream does not answer, or not as it should."""


@dataclass(frozen=True)
class Upstream:
    """`url` of a sparse index, with a slash at its end; `token` for one that wants it."""

    url: str
    token: str = ""

    def __str__(self) -> str:
        return self.url

    def entry(self, path: str, validators: Mapping[str, str]) -> http_client.Response:
        """The file of the index at `path`: 200, 304, or one of `ABSENT`; raises `Fault`."""
        answer = self._fetch(self.url + path, MAX_INDEX_FILE_BYTES, validators)
        if answer.status not in (200, 304, *ABSENCE_ERRORS):
            raise UpstreamFault(f"it answers with {answer.status}")
        if answer.status == 200:
            _check_index_file(answer)
        return answer

    def archive(self, name: str, version: str, sha256: str, file: IO[bytes]) -> int:
        """Write the `.crate` file → 200 or one of `ABSENT`; raises `Fault`. Nobody has looked at the bytes yet."""
        url = self._download_url(name, version, sha256)
        for _ in range(MAX_REDIRECTS + 1):
            answer = self._ask(http_client.download, url, file=file, max_bytes=MAX_CRATE_BYTES)
            if answer.status not in REDIRECT_STATUSES:
                break
            url = self._followed(url, answer)
        if answer.status not in (200, 403, *ABSENCE_ERRORS):
            raise UpstreamFault(f"it answers with {answer.status}")
        return 404 if answer.status == 403 else answer.status  # what object stores say of what is not there

    def _download_url(self, name: str, version: str, sha256: str) -> str:
        template = str(self._config()["dl"])
        if "{" not in template:
            template += "/{crate}/{version}/download"
        values = {
            "crate": quote(name, ""),
            "version": quote(version, "+"),
            "prefix": _prefix(name),
            "lowerprefix": _prefix(name.lower()),
            "sha256-checksum": sha256,
        }
        for marker, value in values.items():
            template = template.replace(f"{{{marker}}}", value)
        return template

    def _config(self) -> dict[str, Any]:
        key = f"mirror-config-{self.url}"
        known: dict[str, Any] | None = cache.get(key)
        if known is None:
            answer = self._fetch(self.url + "config.json", MAX_CONFIG_BYTES, {})
            if answer.status != 200:
                raise UpstreamFault(f"its config.json is answered with {answer.status}")
            known = _config(answer.body)
            cache.set(key, known, CONFIG_CACHE_SECONDS)
        return known

    def _fetch(self, url: str, max_bytes: int, headers: Mapping[str, str]) -> http_client.Response:
        for _ in range(MAX_REDIRECTS + 1):
            answer = self._ask(http_client.fetch, "GET", url, max_bytes=max_bytes, headers=headers)
            if answer.status not in REDIRECT_STATUSES:
                return answer
            url = self._followed(url, answer)
        raise UpstreamFault("it redirects without end")

    def _ask(
        self, how: Any, *place: str, headers: Mapping[str, str] | None = None, **options: Any
    ) -> http_client.Response:
        url = place[-1]
        ours = _host(url) == _host(self.url)
        sent = {**(headers or {}), **({"Authorization": self.token} if self.token and ours else {})}
        try:
            with metrics.upstream.timed("crate" if how is http_client.download else "index"):
                answer: http_client.Response = how(
                    *place, headers=sent, seconds=settings.MIRROR_TIMEOUT, public_only=not ours, **options
                )
        except http_client.RequestFailed as error:
            raise UpstreamFault(str(error)) from error
        return answer

    def _followed(self, url: str, answer: http_client.Response) -> str:
        """Where a redirect leads, if that is a host of this upstream."""
        try:
            place = urljoin(url, answer.headers.get("location", ""))
        except ValueError as error:
            raise UpstreamFault("it redirects to nowhere") from error
        if _host(place) not in (_host(self.url), _host(url)):
            raise UpstreamFault(f"it redirects to {_host(place)[-1][:100]!r}, which is none of its hosts")
        return place


def configured_upstreams() -> list[Upstream]:
    """In the order of their priority."""
    return [Upstream(url, settings.MIRROR_TOKENS.get(url, "")) for url in settings.MIRROR_UPSTREAM]


def get_upstream(url: str) -> Upstream:
    """The configured upstream of this URL; raises `Fault` when it is none any more."""
    for upstream in configured_upstreams():
        if upstream.url == url:
            return upstream
    raise UpstreamFault("it is not configured any more")


def _check_index_file(answer: http_client.Response) -> None:
    """Nothing else than a whole index file is taken for one, for no checksum says what it should be; raises `Fault`."""
    if not {"content-length", "transfer-encoding"} & answer.headers.keys():
        raise UpstreamFault("it does not say where its index file ends, and a part would pass for the whole")
    if answer.headers.get("content-encoding", "identity") != "identity":
        raise UpstreamFault("it packs its index file, which nobody has asked for")
    if not index_lines.is_index_file(answer.body):
        raise UpstreamFault("it sends something else than an index file")


def _config(body: bytes) -> dict[str, Any]:
    try:
        found = strict_json.loads(body)
    except RegistryError as error:
        raise UpstreamFault(f"its config.json cannot be read: {error.message}") from error
    if not isinstance(found, dict) or _host(str(found.get("dl")))[0] not in ("http", "https"):
        raise UpstreamFault("its config.json names no place for downloads")
    return found


def _host(url: str) -> tuple[str, str]:
    """Scheme and host, for a token is sent over HTTPS to nobody who answers without; raises `Fault`."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise UpstreamFault(f"it names {url[:100]!r}, which is no address") from error
    return parts.scheme, parts.netloc


def _prefix(name: str) -> str:
    """Where the index keeps a crate, in the letters of its name."""
    if len(name) < 3:
        return str(len(name))
    return f"3/{name[0]}" if len(name) == 3 else f"{name[:2]}/{name[2:4]}"

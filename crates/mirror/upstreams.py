"""Upstream registries: fetch index files from the configured URLs, and crates from where `config.json` says."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import IO, Any
from urllib.parse import parse_qsl, quote, urljoin, urlsplit

from django.conf import settings
from django.core.cache import cache

from crates import names
from crates.mirror import index_lines, metrics, upstream_health
from crates.mirror.models import Incident
from registry_site import http_client
from registry_site.errors import Gone, NotFound, RegistryError, UnavailableForLegalReasons
from registry_site.http import strict_json
from registry_site.origins import origin_of
from registry_site.upstream_failures import first_words, logged_failure

MAX_INDEX_FILE_BYTES = 64 * 1024 * 1024
MAX_CONFIG_BYTES = 64 * 1024
MAX_CRATE_BYTES = 1024 * 1024 * 1024
MAX_REDIRECTS = 3
CONFIG_CACHE_SECONDS = 3600
CRATES_IO = "https://index.crates.io/"  # refuses crates with links itself
REDIRECT_STATUSES = (301, 302, 303, 307, 308)
# The statuses with which an upstream says that it does not have something; all others are faults.
ABSENCE_ERRORS: dict[int, type[NotFound]] = {404: NotFound, 410: Gone, 451: UnavailableForLegalReasons}
ABSENCE_REASONS = {
    404: "upstream has none of this name",
    410: "upstream has removed it",
    451: "upstream withholds it for legal reasons",
}
NO_HEADERS: Mapping[str, str] = {}


class UpstreamFault(Exception):
    """A missing or invalid answer of an upstream, with the kind of its incident."""

    kind = Incident.Kind.FAULT
    changes: Mapping[str, tuple[str, str]] = MappingProxyType({})  # of checksums, by version: the first, the new one


@dataclass(frozen=True)
class Upstream:
    """A registry with a sparse index: its URL, which ends in a slash, and perhaps a token for it."""

    url: str
    token: str = ""

    def __str__(self) -> str:
        return self.url

    def fetch_index_file(self, path: str, validators: Mapping[str, str]) -> http_client.Response:
        """Fetch the index file at `path`; the status is 200, 304, or one of `ABSENCE_ERRORS`.

        Raises `UpstreamFault`.
        """
        with self._logged("index") as line:
            response = self._request(self.url + path, MAX_INDEX_FILE_BYTES, line, headers=validators)
            if response.status not in (200, 304, *ABSENCE_ERRORS):
                raise UpstreamFault(f"it answers with {response.status}")
            if response.status == 200:
                _require_index_file(response)
            return response

    def download_crate(self, name: str, version: str, sha256: str, file: IO[bytes]) -> int:
        """Write a `.crate` file, whose bytes are not verified yet, and return 200 or one of `ABSENCE_ERRORS`.

        Raises `UpstreamFault`.
        """
        template = str(self._config()["dl"])
        if "{" not in template:
            template += "/{crate}/{version}/download"
        values = {
            "crate": quote(name, ""),
            "version": quote(version, "+"),
            "prefix": names.index_folder(name),
            "lowerprefix": names.index_folder(name.lower()),
            "sha256-checksum": sha256,
        }
        for marker, value in values.items():  # not str.format(): a template could reach into objects
            template = template.replace(f"{{{marker}}}", value)
        with self._logged("crate") as line:
            response = self._request(template, MAX_CRATE_BYTES, line, file=file)
            if response.status == 403:  # object stores answer so for keys that do not exist
                return 404
            if response.status not in (200, *ABSENCE_ERRORS):
                raise UpstreamFault(f"it answers with {response.status}")
            return response.status

    def _config(self) -> dict[str, Any]:
        key = f"mirror-config-{self.url}"
        config: dict[str, Any] | None = cache.get(key)
        if config is None:
            with self._logged("config") as line:
                config = _parse_config(self._request(self.url + "config.json", MAX_CONFIG_BYTES, line))
            cache.set(key, config, CONFIG_CACHE_SECONDS)
        return config

    @contextmanager
    def _logged(self, step: str) -> Iterator[dict[str, Any]]:
        """Log a failure of the block, and remember how it ended; `_request` adds to the line whom it asked for what."""
        host = urlsplit(self.url).netloc
        with (
            upstream_health.recorded(self.url, UpstreamFault),
            logged_failure("mirror", step, host, UpstreamFault, upstream=self.url) as line,
        ):
            yield line

    def _request(
        self,
        url: str,
        max_bytes: int,
        line: dict[str, Any],
        *,
        headers: Mapping[str, str] = NO_HEADERS,
        file: IO[bytes] | None = None,
    ) -> http_client.Response:
        """Send a GET request, follow redirects, and perhaps write the body to a file; raises `UpstreamFault`."""
        deadline = time.monotonic() + settings.MIRROR_TIMEOUT
        for _ in range(MAX_REDIRECTS + 1):
            # Only the configured host gets the token, and may have a private address: `dl` is upstream's own word.
            is_configured = _origin(url) == _origin(self.url)
            may_be_private = is_configured or settings.MIRROR_HOSTS.has(url)
            line |= {"host": urlsplit(url).netloc.rpartition("@")[2], "path": urlsplit(url).path}
            options: dict[str, Any] = {
                "headers": {**headers, **({"Authorization": self.token} if self.token and is_configured else {})},
                "seconds": max(0.0, deadline - time.monotonic()),
                "max_bytes": max_bytes,
                "private_networks": None if may_be_private else settings.MIRROR_HOSTS.networks,
            }
            try:
                with metrics.upstream.timed("index" if file is None else "crate"):
                    if file is None:
                        response = http_client.fetch("GET", url, **options)
                    else:
                        response = http_client.download(url, file=file, **options)
            except http_client.PrivateAddress as error:
                raise UpstreamFault(f"{error}, which needs REGISTRY_MIRROR_HOSTS") from error
            except http_client.RequestFailed as error:
                raise UpstreamFault(str(error)) from error
            line["status"] = response.status
            if response.status >= 400:
                query = urlsplit(url).query  # of a redirect to a signed address
                secrets = [self.token, query, *(value for _, value in parse_qsl(query))]
                line["answer"] = first_words(response.body, secrets)
            if response.status not in REDIRECT_STATUSES:
                return response
            try:
                target = urljoin(url, response.headers.get("location", ""))
            except ValueError as error:
                raise UpstreamFault("it redirects to nowhere") from error
            # A redirect to a third host could reach what only this server can, or lead to somebody else's crates.
            if _origin(target) not in (_origin(self.url), _origin(url)) and not settings.MIRROR_HOSTS.has(target):
                raise UpstreamFault(f"it redirects to {_origin(target)[:100]}, which needs REGISTRY_MIRROR_HOSTS")
            url = target
        raise UpstreamFault("it redirects without end")


def _require_index_file(response: http_client.Response) -> None:
    """Raise `UpstreamFault` for whatever could be a part of an index file, which has no checksum, or something else."""
    if not {"content-length", "transfer-encoding"} & response.headers.keys():
        raise UpstreamFault("it does not say where its index file ends, and a part would pass for the whole")
    if response.headers.get("content-encoding", "identity") != "identity":
        raise UpstreamFault("it packs its index file, which nobody has asked for")
    if not index_lines.is_index_file(response.body):
        raise UpstreamFault("it sends something else than an index file")


def _parse_config(response: http_client.Response) -> dict[str, Any]:
    """Return the `config.json` of an upstream; raises `UpstreamFault` unless it says where to download crates."""
    if response.status != 200:
        raise UpstreamFault(f"its config.json is answered with {response.status}")
    try:
        config = strict_json.loads(response.body)
    except RegistryError as error:
        raise UpstreamFault(f"its config.json cannot be read: {error.message}") from error
    if not isinstance(config, dict) or not _origin(str(config.get("dl"))).startswith(("http://", "https://")):
        raise UpstreamFault("its config.json names no place for downloads")
    return config


def no_such_crate(reason: str) -> str:
    return f"There is no such crate in this index: {reason}."


def absence_error(status: int) -> NotFound:
    """Return the error that passes on why upstream does not have a crate."""
    return ABSENCE_ERRORS[status](no_such_crate(ABSENCE_REASONS[status]))


def configured_upstreams() -> list[Upstream]:
    """Return the upstreams of the settings, in the order of their priority."""
    return [Upstream(url, settings.MIRROR_TOKENS.get(url, "")) for url in settings.MIRROR_UPSTREAM]


def get_upstream(url: str) -> Upstream:
    """Return the configured upstream of this URL; raises `UpstreamFault` if it is not configured any more."""
    for upstream in configured_upstreams():
        if upstream.url == url:
            return upstream
    raise UpstreamFault("it is not configured any more")


def _origin(url: str) -> str:
    """Return the origin, with its scheme, for a token for HTTPS must not go out over HTTP; raises `UpstreamFault`."""
    try:
        return origin_of(url)
    except ValueError as error:
        raise UpstreamFault(f"it names {url[:100]!r}, which is no address") from error

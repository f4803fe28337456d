"""Static files under names with a digest of their bytes, which browsers may keep for a year; without a build step."""

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from django.contrib.staticfiles import finders
from django.contrib.staticfiles.storage import StaticFilesStorage
from whitenoise.middleware import WhiteNoiseMiddleware

YEAR = 365 * 24 * 3600
DIGEST_LENGTH = 12  # hexadecimal digits, as Django's own manifest has them


@cache
def digest_of(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:DIGEST_LENGTH]


def hashed_name(name: str, path: str) -> str:
    """Return the name of a static file with its digest: `page.css` becomes `page.0123456789ab.css`."""
    stem, dot, suffix = name.rpartition(".")
    return f"{stem}.{digest_of(path)}.{suffix}" if dot else name


@cache  # each page has a few, and to find a file looks into several folders
def find_hashed_name(name: str) -> str:
    """Return the name of a static file with its digest, or the name alone if there is no such file."""
    path = finders.find(name)
    return hashed_name(name, path) if path else name


class HashedStaticFiles(StaticFilesStorage):
    """Storage whose URLs have the digest. Files that a style sheet imports keep their plain names."""

    def url(self, name: str | None) -> str:
        return super().url(find_hashed_name(name) if name else name)


class StaticFilesMiddleware(WhiteNoiseMiddleware):  # type: ignore[misc]  # has no types
    """WhiteNoise, which serves each file under its plain name and under the one with the digest."""

    FOREVER = YEAR

    def add_file_to_dictionary(self, url: str, path: str, stat_cache: Any = None) -> None:
        super().add_file_to_dictionary(url, path, stat_cache=stat_cache)
        super().add_file_to_dictionary(hashed_name(url, path), path, stat_cache=stat_cache)

    def candidate_paths_for_url(self, url: str) -> Any:
        yield from super().candidate_paths_for_url(url)
        if url.startswith(self.static_prefix):
            path = finders.find(self.get_name_without_hash(url.removeprefix(self.static_prefix)))
            if path and hashed_name(self.get_name_without_hash(url), path) == url:
                yield path

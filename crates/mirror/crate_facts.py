"""Facts from cached `.crate` files.

Those of the manifest are read before a file is sent for the first time, for policies need the license. All others are
read soon after, and again under newer rules by a command.
"""

import posixpath
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import IO, Any

from crates import taxonomy
from crates.mirror import licenses
from crates.mirror.models import CachedCrate
from crates.package import archive, facts, manifest
from crates.package.archive import Contents
from crates.package.facts import Facts
from crates.package.fields import MAX_URL_LENGTH, WEB_SCHEMES, is_url
from registry_site import audit
from registry_site.errors import Invalid, Lost
from registry_site.storage import blobs, free_space

NOT_EXAMINED = 0
PAGE_SIZE = 100
MAX_WORDS = 20  # keywords, and categories
MAX_WORD_LENGTH = 64


def read_manifest(crate: IO[bytes], size: int) -> tuple[str, dict[str, Any]]:
    """Return the license of a `.crate` file of another registry, and the columns that its `Cargo.toml` alone fills.

    Nothing behind the manifest is read: a build waits for this, once for each crate.
    """
    crate.seek(0)
    package = package_of(parse_manifest(archive.read_leniently(crate, size, until_manifest=True)))
    return licenses.license_of(package), {"examined": NOT_EXAMINED, **manifest_columns(package)}


def read(crate: IO[bytes], size: int) -> dict[str, Any]:
    """Return all columns of a `.crate` file of another registry. What cannot be read is left out."""
    crate.seek(0)
    contents = archive.read_leniently(crate, size)
    document = parse_manifest(contents)
    columns = {"examined": facts.REVISION, **manifest_columns(package_of(document))}
    if document:
        with suppress(Invalid):  # the file is damaged behind its manifest
            columns |= archive_columns(facts.read(document, contents, crate, size))
    return columns


def parse_manifest(contents: Contents) -> dict[str, Any]:
    """Return a parsed `Cargo.toml`, empty if there is none that can be read."""
    try:
        return manifest.parse_toml(contents.cargo_toml)
    except Invalid:
        return {}


def package_of(document: Mapping[str, Any]) -> Mapping[str, Any]:
    package = document.get("package", document.get("project"))
    return package if isinstance(package, dict) else {}


def manifest_columns(package: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "description": text(package, "description", manifest.MAX_DESCRIPTION_LENGTH),
        "homepage": address(package, "homepage"),
        "repository": address(package, "repository"),
        "documentation": address(package, "documentation"),
        "keywords": words(package, "keywords"),
        "categories": words(package, "categories"),
    }


def archive_columns(read_facts: Facts) -> dict[str, Any]:
    readme_path = posixpath.normpath(posixpath.join(read_facts.vcs_path, read_facts.readme_path))
    return {
        "license_file": printable(read_facts.license_file),
        "edition": read_facts.edition,
        "has_library": read_facts.build_targets.has_library,
        "binary_names": read_facts.build_targets.binary_names,
        "line_counts": read_facts.line_counts,
        "readme_path": printable(readme_path),
        "readme_text": read_facts.readme_text,
    }


def printable(path: str) -> str:
    """Return a path that a database can hold, or an empty text for another one."""
    return path if path.isprintable() else ""


def text(package: Mapping[str, Any], key: str, max_length: int) -> str:
    value = package.get(key)
    return value[:max_length].replace("\0", "") if isinstance(value, str) else ""


def address(package: Mapping[str, Any], key: str) -> str:
    """Return a URL of a manifest, or an empty text for another value."""
    value = package.get(key)
    return value if isinstance(value, str) and len(value) <= MAX_URL_LENGTH and is_url(value, WEB_SCHEMES) else ""


def words(package: Mapping[str, Any], key: str) -> list[str]:
    values = package.get(key)
    values = values if isinstance(values, list) else []
    texts = dict.fromkeys(taxonomy.normal_word(value) for value in values if isinstance(value, str))
    return [text for text in texts if 0 < len(text) <= MAX_WORD_LENGTH and text.isprintable()][:MAX_WORDS]


# --- Crates that were stored under older rules ----------------------------------------------------------------------


def count_outdated() -> int:
    return CachedCrate.objects.exclude(facts__examined=facts.REVISION).count()


def outdated_crates() -> Iterator[CachedCrate]:
    """Yield the crates without facts by the present rules, as they are when each page of them begins."""
    outdated, last = CachedCrate.objects.exclude(facts__examined=facts.REVISION).order_by("pk"), 0
    while page := list(outdated.filter(pk__gt=last)[:PAGE_SIZE]):
        yield from page
        last = page[-1].pk


def is_examined(crate: CachedCrate) -> bool:
    """Return whether the whole file of a crate was read, even by older rules."""
    return hasattr(crate, "facts") and crate.facts.examined != NOT_EXAMINED


def read_stored(crate: CachedCrate) -> dict[str, Any]:
    """Return all columns of a cached file; raises `Lost`, also for damaged bytes, and `Unavailable`."""
    with free_space.TemporaryFile() as file:
        with crate.blob().read() as content:
            shutil.copyfileobj(content, file, blobs.CHUNK_SIZE)
        if blobs.sha256_of(file) != crate.sha256:
            raise Lost("The stored bytes are damaged.")
        return read(file, crate.size)


def record(number: int) -> None:
    """Record that so many crates have new facts."""
    audit.record(None, audit.Action.CRATE_REFRESH, "facts of mirrored crates", refreshed=number)

"""Facts from cached `.crate` files: read once, when a file is stored, or again under newer rules by a command."""

import posixpath
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any

from crates.mirror import licenses
from crates.mirror.models import CachedCrate, CrateFacts
from crates.package import archive, facts, manifest
from crates.package.facts import Facts
from crates.package.fields import MAX_URL_LENGTH, WEB_SCHEMES, is_url
from registry_site import audit, markdown
from registry_site.errors import Invalid
from registry_site.storage import blobs, free_space

PAGE_SIZE = 100
MAX_WORDS = 20  # keywords, and categories
MAX_WORD_LENGTH = 64
UNREADABLE = {"examined": facts.REVISION}


@dataclass(frozen=True)
class ReadCrate:
    """The license of a crate, and the columns of its `CrateFacts`."""

    license: str
    columns: dict[str, Any]


def read(crate: IO[bytes], size: int) -> ReadCrate:
    """Read a `.crate` file of another registry. Nothing is refused: what cannot be read is left out."""
    crate.seek(0)
    contents = archive.read_leniently(crate, size)
    if not contents.cargo_toml:
        return ReadCrate("", UNREADABLE)
    try:
        document = manifest.parse_toml(contents.cargo_toml)
    except Invalid:
        return ReadCrate("", UNREADABLE)
    package = document.get("package", document.get("project"))
    package = package if isinstance(package, dict) else {}
    license_ = licenses.license_of(package)
    try:
        return ReadCrate(license_, columns_of(package, facts.read(document, contents, crate, size)))
    except Invalid:  # the file is damaged behind its manifest
        return ReadCrate(license_, UNREADABLE)


def columns_of(package: Mapping[str, Any], read_facts: Facts) -> dict[str, Any]:
    repository = address(package, "repository")
    readme_path = posixpath.normpath(posixpath.join(read_facts.vcs_path, read_facts.readme_path))
    readme = read_facts.readme_text
    return {
        "examined": facts.REVISION,
        "description": text(package, "description", manifest.MAX_DESCRIPTION_LENGTH),
        "homepage": address(package, "homepage"),
        "repository": repository,
        "documentation": address(package, "documentation"),
        "license_file": read_facts.license_file if read_facts.license_file.isprintable() else "",
        "edition": read_facts.edition,
        "has_library": read_facts.build_targets.has_library,
        "binary_names": read_facts.build_targets.binary_names,
        "line_counts": read_facts.line_counts,
        "keywords": words(package, "keywords"),
        "categories": words(package, "categories"),
        "readme_html": markdown.render_readme(readme, readme_path, repository) if readme else "",
    }


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
    usable = [value.lower() for value in values if isinstance(value, str) and 0 < len(value) <= MAX_WORD_LENGTH]
    return [value for value in dict.fromkeys(usable) if value.isprintable()][:MAX_WORDS]


# --- Crates that were stored under older rules ----------------------------------------------------------------------


def count_outdated() -> int:
    return CachedCrate.objects.exclude(facts__examined=facts.REVISION).count()


def outdated_crates() -> Iterator[CachedCrate]:
    """Yield the crates without facts by the present rules, as they are when each page of them begins."""
    outdated, last = CachedCrate.objects.exclude(facts__examined=facts.REVISION).order_by("pk"), 0
    while page := list(outdated.filter(pk__gt=last)[:PAGE_SIZE]):
        yield from page
        last = page[-1].pk


def read_stored(crate: CachedCrate) -> ReadCrate:
    """Read a cached file; raises `Lost`, `Unavailable`, and `Invalid` for damaged bytes."""
    with free_space.TemporaryFile() as file:
        with crate.blob().read() as content:
            shutil.copyfileobj(content, file, blobs.CHUNK_SIZE)
        if blobs.sha256_of(file) != crate.sha256:
            raise Invalid("The stored bytes are damaged.")
        return read(file, crate.size)


def save(crate: CachedCrate, columns: Mapping[str, Any]) -> None:
    """Store the facts of a crate; the caller holds `crate_cache.lock_bytes`, for it may be deleted."""
    CrateFacts.objects.update_or_create(crate=crate, defaults=columns)


def record(number: int) -> None:
    """Record that so many crates have new facts."""
    audit.record(None, audit.Action.CRATE_REFRESH, "facts of mirrored crates", refreshed=number)

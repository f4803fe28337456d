"""Taking the mirror to a place without a network: a folder with index files and crates, and back from one.

In the folder stand `index/` with the entries, `crates/NAME/NAME-VERSION.crate`, and `mirror.json`: whence they are.
"""

import json
import os
import shutil
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from crates import names
from crates.mirror import crate_cache, index_cache, index_lines, overrides
from crates.mirror.index_lines import Line
from crates.mirror.maintenance import iterate_pages
from crates.mirror.models import CachedCrate, CachedIndexFile
from crates.mirror.upstreams import UpstreamFault
from registry_site.errors import Invalid, NotFound
from registry_site.storage import blobs

ABOUT = "mirror.json"


def export_to(folder: Path) -> Iterator[tuple[str, bool]]:
    """Write all that is kept, in the index, not blocked and not there yet; what each is, and whether it is whole."""
    (folder / "crates").mkdir(parents=True, exist_ok=True)
    rulings = overrides.active_overrides_by_crate()
    upstreams: dict[str, str] = {}
    for page in iterate_pages(CachedIndexFile.objects.filter(status=200), 100):
        kept = defaultdict(list)
        for archive in CachedCrate.objects.filter(name__in=[entry.name for entry in page]):
            if not any(one.blocks(archive.version) for one in rulings.get(names.canonical(archive.name), [])):
                kept[archive.name].append(archive)
        for entry in page:
            present = {(line.version, line.checksum) for line in index_lines.parse(bytes(entry.body))}
            wanted = [archive for archive in kept[entry.name] if (archive.version, archive.sha256) in present]
            for archive in wanted:
                yield str(archive), _write(_crate(folder, archive.name, archive.version), archive)
            if wanted:
                upstreams[entry.name] = entry.upstream
                _write_bytes(folder / "index" / entry.path, bytes(entry.body))
    about = {"format": 1, "upstreams": upstreams}
    _write_bytes(folder / ABOUT, json.dumps(about, indent=1, sort_keys=True).encode())


def import_from(folder: Path) -> Iterator[tuple[str, bool]]:
    """Take in what a folder has: what each is, and whether it is what its index says; else it is left out.

    Raises `Invalid` for a folder that is none of these.
    """
    upstreams = _about(folder)
    for path in sorted((folder / "index").rglob("*")):
        name = path.name
        if (
            not _is_plain(path, folder)
            or not index_cache.NAME.fullmatch(name)
            or names.index_path(name) != str(path.relative_to(folder / "index"))
        ):
            continue
        body = path.read_bytes()
        try:
            entry = index_cache.store(names.index_path(name), upstreams.get(name, ""), body)
        except UpstreamFault as error:
            yield f"{name}: {error}", False
            continue
        for line in index_lines.parse(body):
            crate = _crate(folder, name, line.version)
            if line.version and _is_plain(crate, folder):
                yield f"{name}@{line.version}", _take(entry, line, crate)


def count_crates(folder: Path) -> int:
    """How many crates are in a folder."""
    return sum(1 for _ in (folder / "crates").glob("*/*.crate"))


def _take(entry: CachedIndexFile, line: Line, path: Path) -> bool:
    with path.open("rb") as content:
        if blobs.sha256_of(content) != line.checksum:
            return False
        with crate_cache.lock_bytes(line.checksum):
            crate_cache.store(entry, line, content)
    return True


def _is_plain(path: Path, folder: Path) -> bool:
    """A file of the folder itself, and not what a link leads to."""
    within = [path, *(parent for parent in path.parents if parent.is_relative_to(folder) and parent != folder)]
    return path.is_file() and not any(part.is_symlink() for part in within)


def _about(folder: Path) -> dict[str, str]:
    try:
        found = json.loads((folder / ABOUT).read_bytes())
        return {str(name): str(url) for name, url in found["upstreams"].items()}
    except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise Invalid(f"{folder} is no exported mirror: its {ABOUT} cannot be read.") from error


def _crate(folder: Path, name: str, version: str) -> Path:
    return folder / "crates" / name / f"{name}-{version}.crate"


def _write(path: Path, archive: CachedCrate) -> bool:
    """A file stands at its name only when it is whole; False when what is kept is damaged or gone."""
    if path.exists() and _sha256(path) == archive.sha256:
        return True
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    try:
        with archive.blob().read() as content, partial.open("wb") as file:
            shutil.copyfileobj(content, file, blobs.CHUNK_SIZE)
    except NotFound:
        return False
    if _sha256(partial) != archive.sha256:
        partial.unlink()
        return False
    os.replace(partial, path)
    return True


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return blobs.sha256_of_stream(file)


def _write_bytes(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    partial.write_bytes(content)
    os.replace(partial, path)

"""Transfer of the mirror to a machine without a network: export into a folder, import from one.

The folder has `index/` with the index files, `crates/NAME/NAME-VERSION.crate`, and `mirror.json` with their upstreams.
"""

import json
import os
import shutil
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from crates import names
from crates.mirror import crate_cache, crate_facts, examination, incidents, index_cache, index_lines, overrides
from crates.mirror.crate_cache import RefusedArchive
from crates.mirror.index_cache import ChangedChecksum
from crates.mirror.maintenance import iterate_pages
from crates.mirror.models import CachedCrate, CachedIndexFile
from registry_site.errors import Invalid, NotFound
from registry_site.storage import blobs

MANIFEST = "mirror.json"


def export_to(folder: Path) -> Iterator[tuple[str, bool]]:
    """Write all cached crates that are in the index and not blocked; yield each, and whether its bytes are intact.

    Files that are in the folder already stay as they are, so an export that was interrupted goes on where it ended.
    """
    (folder / "crates").mkdir(parents=True, exist_ok=True)
    active = overrides.active_overrides_by_crate()
    upstreams: dict[str, str] = {}
    for page in iterate_pages(CachedIndexFile.objects.filter(status=200), 100):
        crates = defaultdict(list)
        for crate in CachedCrate.objects.filter(name__in=[index_file.name for index_file in page]):
            if not any(override.blocks(crate.version) for override in active.get(names.canonical(crate.name), [])):
                crates[crate.name].append(crate)
        for index_file in page:
            lines = {(line.version, line.checksum) for line in index_lines.parse(bytes(index_file.body))}
            # An index may have dropped a version, or changed its checksum with the consent of staff.
            indexed = [crate for crate in crates[index_file.name] if (crate.version, crate.sha256) in lines]
            for crate in indexed:
                yield str(crate), _write_crate(_crate_path(folder, crate.name, crate.version), crate)
            if indexed:
                upstreams[index_file.name] = index_file.upstream
                _write(folder / "index" / index_file.path, bytes(index_file.body))
    manifest = {"format": 1, "upstreams": upstreams}
    _write(folder / MANIFEST, json.dumps(manifest, indent=1, sort_keys=True).encode())


def import_from(folder: Path) -> Iterator[tuple[str, bool]]:
    """Store the crates of a folder; yield each, and whether it has the checksum of its index. Others are left out.

    Raises `Invalid` for a folder that is no export.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        upstreams = {str(name): str(url) for name, url in manifest["upstreams"].items()}
    except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise Invalid(f"{folder} is no exported mirror: its {MANIFEST} cannot be read.") from error
    for path in sorted((folder / "index").rglob("*")):
        name = path.name
        if (
            not _is_plain_file(path, folder)
            or not index_lines.NAME.fullmatch(name)
            or names.index_path(name) != str(path.relative_to(folder / "index"))
        ):
            continue
        body = path.read_bytes()
        try:
            index_file = index_cache.store(names.index_path(name), upstreams.get(name, ""), body)
        except ChangedChecksum as error:
            incidents.record_fault(error, upstream=str(folder), crate=name, detail=str(error))
            yield f"{name}: {error}", False
            continue
        for line in index_lines.parse(body):
            crate_path = _crate_path(folder, name, line.version)
            if not line.version or not _is_plain_file(crate_path, folder):
                continue
            with crate_path.open("rb") as file:
                if blobs.sha256_of(file) != line.checksum:
                    yield f"{name}@{line.version}", False
                    continue
                try:
                    crate_cache.check_archive(index_file.upstream, file)
                except RefusedArchive as error:
                    yield f"{name}@{line.version}: {error}", False
                    continue
                with crate_cache.lock_bytes(line.checksum):
                    crate = crate_cache.store(index_file, line, file)
                examination.store({crate.pk: crate_facts.read(file, crate.size)})
            yield f"{name}@{line.version}", True


def count_crates(folder: Path) -> int:
    return sum(1 for _ in (folder / "crates").glob("*/*.crate"))


def _is_plain_file(path: Path, folder: Path) -> bool:
    """Return whether a path is a file of the folder itself. Links could lead to any file of this machine."""
    parts = [path, *(parent for parent in path.parents if parent.is_relative_to(folder) and parent != folder)]
    return path.is_file() and not any(part.is_symlink() for part in parts)


def _crate_path(folder: Path, name: str, version: str) -> Path:
    return folder / "crates" / name / f"{name}-{version}.crate"


def _write_crate(path: Path, crate: CachedCrate) -> bool:
    """Write a crate unless it is there; return False if its cached bytes are damaged or gone."""
    if path.exists() and _sha256(path) == crate.sha256:
        return True
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    try:
        with crate.blob().read() as content, partial.open("wb") as file:
            shutil.copyfileobj(content, file, blobs.CHUNK_SIZE)
    except NotFound:
        partial.unlink(missing_ok=True)
        return False
    # Hash the written file: that notices damaged bytes in the cache, and a medium that loses some.
    if _sha256(partial) != crate.sha256:
        partial.unlink()
        return False
    os.replace(partial, path)  # so that a file under its own name is always whole
    return True


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return blobs.sha256_of_stream(file)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    partial.write_bytes(content)
    os.replace(partial, path)

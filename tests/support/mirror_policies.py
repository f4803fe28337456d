"""Crates, advisories and overrides for tests of the mirror's policies."""

import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.utils import timezone

from crates.mirror import overrides
from crates.mirror.models import Override
from tests.support import bad_upstream, packing
from tests.support.bad_upstream import BadUpstream, line

BLOCKED, EXEMPT = Override.Kind.BLOCKED, Override.Kind.EXEMPT
MODIFIED = "Wed, 21 Oct 2015 07:28:00 GMT"


def crate(name: str, version: str, license_: str) -> bytes:
    """Return a crate under a license; with an empty one, its manifest names only a file."""
    field = f"license = {json.dumps(license_)}" if license_ else 'license-file = "LICENSE"'
    return packing.crate(name, version, packing.manifest(name, version, field))


def publish(upstream: BadUpstream, versions: Mapping[str, str | dict[str, Any]], name: str = "demo") -> bytes:
    """Publish versions with their license, or with fields of their line that may include one; return the index file."""
    body = b""
    for version, value in versions.items():
        fields = {"license": value} if isinstance(value, str) else dict(value)
        content = crate(name, version, fields.pop("license", "MIT"))
        body += line(name, version, content, **fields) + b"\n"
        upstream.script_crate(name, version, bad_upstream.file(content))
    upstream.script_index(name, bad_upstream.file(body, Last_Modified=MODIFIED))
    return body


def fetched_versions(upstream: BadUpstream, name: str = "demo") -> list[str]:
    """Return the versions whose files upstream was asked for, in this order."""
    return [request.path.split("/")[3] for request in upstream.requests if request.path.startswith(f"/dl/{name}/")]


def add_override(kind: Override.Kind, requirement: str = "*", reason: str = "It is so.", **fields: Any) -> Override:
    return overrides.create_override(kind, "demo", requirement, actor=None, reason=reason, **fields)


def ago(**span: float) -> str:
    return (timezone.now() - timedelta(**span)).isoformat()


def add_advisory(database: Path, name: str = "demo", patched: str = "[]", title: str = "It breaks") -> None:
    folder = database / "crates" / name
    folder.mkdir(parents=True, exist_ok=True)
    text = f'```toml\n[advisory]\nid = "RUSTSEC-2026-0001"\n[versions]\npatched = {patched}\n```\n# {title}\n'
    (folder / "RUSTSEC-2026-0001.md").write_text(text)


def set_all_policies(settings: Any, database: Path) -> None:
    """Set each policy, so that all quarantine `demo`."""
    add_advisory(database)
    settings.MIRROR_ADVISORIES = [str(database)]
    settings.MIRROR_DENYLIST = ["demo@<1.5"]
    settings.MIRROR_MIN_AGE_DAYS = 14
    settings.MIRROR_LICENSES = ["MIT"]

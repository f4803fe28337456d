"""A small registry as a company would have it, made by the verbs of the domain: for pages, snapshots and screenshots.

`fill()` works in any process with Django set up; `python -m tests.support.sample_registry` fills the registry of the
environment. The cast: `alice` and `bob` publish, `charlie` has an account with a second factor, `root` administers;
all have one password.
"""

import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

import django

if TYPE_CHECKING:
    from accounts.models import User

NOW = datetime.now(UTC).replace(hour=9, minute=30, second=0, microsecond=0) - timedelta(days=1)
PASSWORD = "correct horse"
RECOVERY_CODE = "abcdefghjkmnpqrs"  # of charlie, who has a second factor
DAYS = 90


class Sample(NamedTuple):
    """A crate with its versions, the oldest first, each so many days old."""

    name: str
    description: str
    keywords: tuple[str, ...]
    category: str
    versions: tuple[tuple[str, int], ...]
    dependencies: tuple[tuple[str, str], ...] = ()
    downloads: int = 100  # on an average day
    publisher: str = "alice"


SAMPLES: Sequence[Sample] = (
    Sample(
        "harbour-core",
        "Types and traits that all services of the harbour share",
        ("types", "shipping"),
        "data-structures",
        (("0.9.0", 210), ("1.0.0", 160), ("1.1.0", 70), ("1.2.0", 9)),
        (),
        340,
    ),
    Sample(
        "manifest-parser",
        "Parses bills of lading in EDIFACT and JSON, without allocations for a line",
        ("parser", "edifact", "shipping"),
        "parser-implementations",
        (("0.3.0", 120), ("0.3.1", 100), ("0.4.0", 3)),
        (("harbour-core", "^1.1"), ("serde_json", "^1.0")),
        180,
        "bob",
    ),
    Sample(
        "berth-scheduler",
        "Assigns ships to berths by tide, draught and crane time",
        ("scheduling", "optimisation"),
        "algorithms",
        (("2.0.0", 60), ("2.1.0", 21)),
        (("harbour-core", "^1.0"), ("tide-tables", "^0.2")),
        95,
    ),
    Sample(
        "tide-tables",
        "Tide heights for 1,200 ports, computed from harmonic constituents",
        ("tides", "astronomy"),
        "science",
        (("0.2.0", 140), ("0.2.1", 45)),
        (),
        88,
        "bob",
    ),
    Sample(
        "crane-protocol",
        "The wire protocol of ship-to-shore cranes: frames, checksums and a state machine",
        ("protocol", "serial", "no-std"),
        "embedded",
        (("0.1.0", 34), ("0.1.1", 30), ("0.2.0", 12)),
        (),
        41,
    ),
    Sample(
        "container-id",
        "Checks and formats container numbers by ISO 6346",
        ("iso6346", "checksum"),
        "encoding",
        (("1.0.0", 300), ("1.0.1", 80)),
        (),
        510,
        "bob",
    ),
    Sample(
        "customs-client",
        "A client for the customs office's declarations, with retries and an audit trail",
        ("http", "client", "customs"),
        "web-programming",
        (("0.7.0", 50), ("0.7.1", 6)),
        (("harbour-core", "^1.2"), ("container-id", "^1")),
        64,
    ),
    Sample(
        "yard-map",
        "A spatial index of stacks in a container yard",
        ("spatial", "index"),
        "data-structures",
        (("0.1.0", 2),),
        (("container-id", "^1"),),
        12,
        "bob",
    ),
    Sample(
        "weigh-bridge",
        "Reads weighbridges over Modbus, and knows their quirks",
        ("modbus", "hardware"),
        "hardware-support",
        (("0.5.0", 18),),
        (("crane-protocol", "^0.1"),),
        20,
    ),
    Sample(
        "dispatch-cli",
        "The command line of the dispatchers",
        ("cli",),
        "command-line-utilities",
        (("3.0.0", 40), ("3.1.0", 1)),
        (("berth-scheduler", "^2"), ("manifest-parser", "^0.3")),
        33,
    ),
)


class Revision(NamedTuple):
    """Changes that came with a version."""

    files: dict[str, str]
    license: str
    rust_version: str
    dependencies: tuple[tuple[str, str], ...]


USUAL = Revision({}, "MIT OR Apache-2.0", "1.85", ())
REVISIONS = {
    ("crane-protocol", "0.2.0"): Revision(
        {
            "build.rs": 'fn main() {\n    println!("cargo:rerun-if-changed=tables.txt");\n}\n',
            "src/frames.rs": "/// Never `unsafe` for callers.\npub fn first(frame: &[u8]) -> u8 {\n"
            "    unsafe { *frame.get_unchecked(0) }\n}\n",
            "tables.bin": "\0",
        },
        "MIT",
        "1.88",
        (("anyhow", "^1.0"),),
    )
}

README = """# {name}

{description}.

## Usage

Add it to your crate:

```toml
[dependencies]
{name} = {{ version = "{version}", registry = "entrepot" }}
```

```rust
use {module}::Builder;

fn main() -> Result<(), Box<dyn std::error::Error>> {{
    // Defaults are meant for the harbour's own network.
    let built = Builder::new().with_limit(1_000).build()?;
    println!("{{built:?}}");
    Ok(())
}}
```

## Features

| Feature | Default | Meaning |
| --- | :---: | --- |
| `std` | yes | Uses the standard library |
| `serde` | no | Serializes all public types |
| `tracing` | no | Emits spans for slow calls |

> [!NOTE]
> The minimum Rust version rises only with a minor version.

- [x] Stable API
- [ ] A guide for terminals with more than one gate

See [the changes](CHANGELOG.md) and [how to contribute](CONTRIBUTING.md).
"""

LIBRARY = """//! {description}.

/// Builds values of this crate.
#[derive(Debug, Default, Clone)]
pub struct Builder {{
    limit: usize,
}}

impl Builder {{
    pub fn new() -> Self {{
        Self::default()
    }}

    /// At most so many entries are kept; version {version} drops the oldest.
    pub fn with_limit(mut self, limit: usize) -> Self {{
        self.limit = limit;
        self
    }}

    pub fn build(self) -> Result<Self, std::fmt::Error> {{
        Ok(self)
    }}
}}
"""

# Crates of the mirror: name, description, versions with days, downloads.
MIRRORED = (
    ("serde", "A generic serialization/deserialization framework", (("1.0.226", 70), ("1.0.228", 64)), 900),
    ("serde_json", "A JSON serialization file format", (("1.0.145", 76), ("1.0.146", 4)), 870),
    ("tokio", "An event-driven, non-blocking I/O platform", (("1.47.1", 120), ("1.48.0", 46)), 760),
    ("rand", "Random number generators and other randomness functionality", (("0.9.1", 200), ("0.9.2", 130)), 420),
    ("anyhow", "Flexible concrete Error type built on std::error::Error", (("1.0.100", 69),), 510),
    (
        "time",
        "Date and time library. Fully interoperable with the standard library",
        (("0.2.22", 700), ("0.3.44", 80)),
        300,
    ),
)


@contextmanager
def filled(directory: Path) -> Iterator[None]:
    """A filled registry with its blobs below a directory, in a transaction that is rolled back."""
    from django.conf import settings
    from django.db import transaction
    from django.test import override_settings

    from crates.mirror.models import STORE

    disks = {
        name: {"BACKEND": "registry_site.storage.disk.DiskBlobs", "OPTIONS": {"location": directory / name}}
        for name in ("blobs", STORE)
    }
    with override_settings(STORAGES={**settings.STORAGES, **disks}), transaction.atomic():
        fill()
        yield
        transaction.set_rollback(True)


def fill() -> None:
    """Create accounts, crates with downloads, mirrored crates, namespaces and packages."""
    from accounts import registration
    from accounts.principals import Principal
    from registry_site import counters

    cast = {
        name: registration.register(name, PASSWORD, email=f"{name}@example.com") for name in ("alice", "bob", "charlie")
    }
    registration.register("root", PASSWORD, admin=True)
    for sample in SAMPLES:
        for number, age in sample.versions:
            publish(Principal(cast[sample.publisher]), sample, number, age)
    share_and_yank(cast)
    count_downloads()
    mirror_crates()
    create_packages(cast)
    protect(cast["charlie"])
    counters.recount_all()  # the rows of downloads were written by hand


def protect(user: "User") -> None:
    """Give an account a second factor, with a recovery code that tests know."""
    from accounts.models import RecoveryCode
    from registry_site.encoding import token_digest
    from tests.support.authenticator_apps import add_app

    add_app(user)
    RecoveryCode.objects.filter(user=user).latest("pk").delete()
    RecoveryCode.objects.create(user=user, digest=token_digest(RECOVERY_CODE))


def publish(principal: Any, sample: Sample, number: str, age: int) -> None:
    """Publish a version, and date it back."""
    from crates import publishing
    from crates.models import Crate, Version
    from tests.support import packing

    body = packing.frame(*pack(sample, number))
    publishing.publish(principal, io.BytesIO(body), len(body))
    moment = NOW - timedelta(days=age)
    crates = Crate.objects.filter(name=sample.name)
    Version.objects.filter(crate__name=sample.name, number=number).update(published_at=moment)
    crates.update(updated_at=moment, **({"created_at": moment} if number == sample.versions[0][0] else {}))


def pack(sample: Sample, number: str) -> tuple[dict[str, Any], bytes]:
    """Return the JSON and the `.crate` of a version."""
    from crates.package.dependencies import CRATES_IO
    from tests.support import packing

    revision = REVISIONS.get((sample.name, number), USUAL)
    own = {other.name for other in SAMPLES}
    needs = [
        packing.dependency(name, requirement, **({} if name in own else {"registry": CRATES_IO}))
        for name, requirement in sample.dependencies + revision.dependencies
    ]
    words = {
        "name": sample.name,
        "version": number,
        "description": sample.description,
        "module": sample.name.replace("-", "_"),
    }
    toml = packing.manifest(sample.name, number, manifest_lines(sample, revision) + dependency_lines(needs))
    files = {
        "README.md": README.format(**words),
        "src/lib.rs": LIBRARY.format(**words),
        "CHANGELOG.md": f"# Changes\n\n## {number}\n\n- See the history.\n",
        "LICENSE-MIT": "Permission is hereby granted, free of charge, to any person …\n",
        "tests/builds.rs": "#[test]\nfn builds() {}\n",
        **revision.files,
    }
    described = {"description": sample.description, "license": revision.license, "deps": needs}
    features = {"default": ["std"], "std": [], "serde": [], "tracing": []}
    metadata = packing.metadata(sample.name, number, **described, features=features)
    return metadata, packing.crate(sample.name, number, toml, files)


def manifest_lines(sample: Sample, revision: Revision) -> str:
    return "\n".join(
        (
            f"description = {json.dumps(sample.description)}",
            f'license = "{revision.license}"',
            'readme = "README.md"',
            f'rust-version = "{revision.rust_version}"',
            f'repository = "https://github.com/harbour/{sample.name}"',
            f'documentation = "https://docs.example.com/{sample.name}"',
            f"keywords = {json.dumps(sample.keywords)}",
            f'categories = ["{sample.category}"]',
            "[features]",
            'default = ["std"]',
            "std = []",
            "serde = []",
            "tracing = []",
        )
    )


def dependency_lines(needs: Sequence[dict[str, Any]]) -> str:
    from django.conf import settings

    lines = []
    for need in needs:
        index = "" if "registry" in need else f'\nregistry-index = "sparse+{settings.PUBLIC_URL}/index/"'
        lines.append(f'\n[dependencies.{need["name"]}]\nversion = "{need["version_req"]}"{index}')
    return "\n".join(lines)


def share_and_yank(cast: "dict[str, User]") -> None:
    from accounts.principals import Principal
    from crates import ownership, yanking

    alice = Principal(cast["alice"])
    ownership.add(alice, "harbour-core", ["bob"])
    yanking.set_yanked(alice, "crane-protocol", "0.1.1", yanked=True, message="Wrong checksum for frames of 255 bytes")


def count_downloads() -> None:
    """Count downloads of the last ninety days, fewer every sixth and seventh day and for old versions."""
    from crates.models import Crate, CrateDownloads, DailyDownloads, VersionDownloads

    random = Random(18)
    averages = {sample.name: sample.downloads for sample in SAMPLES}
    rows, totals = [], {}
    for crate in Crate.objects.prefetch_related("versions"):
        versions = sorted(crate.versions.all(), key=lambda version: version.published_at, reverse=True)
        for rank, version in enumerate(versions):
            counts = dict(daily_counts(random, averages[crate.name] // (rank * 3 + 1), version.published_at.date()))
            rows += [DailyDownloads(version=version, day=day, count=count) for day, count in counts.items()]
            totals[version] = sum(counts.values())
    DailyDownloads.objects.bulk_create(rows)
    VersionDownloads.objects.bulk_create(
        [VersionDownloads(version=key, total=total) for key, total in totals.items()],
        update_conflicts=True,
        unique_fields=["version"],
        update_fields=["total"],
    )
    for crate in Crate.objects.all():
        recent = sum(total for version, total in totals.items() if version.crate_id == crate.pk)
        CrateDownloads.objects.filter(crate=crate).update(total=recent * 2, recent=recent)


def daily_counts(random: Random, average: int, since: date) -> Iterator[tuple[date, int]]:
    for back in range(DAYS, 0, -1):
        day = NOW.date() - timedelta(days=back)
        if day >= since:
            is_rest = back % 7 >= 5  # instead of weekends, so that the sums are the same on each day
            yield day, int(average * random.uniform(0.6, 1.4) * (0.25 if is_rest else 1)) + 1


def mirror_crates() -> None:
    """Store index files as upstream sends them, with the files of all versions."""
    from crates.mirror import crate_cache, examination, index_cache, index_lines
    from crates.mirror.models import CachedCrate, CrateDownloads
    from crates.names import index_path
    from tests.support import packing

    for name, description, versions, downloads in MIRRORED:
        extra = f'description = {json.dumps(description)}\nlicense = "MIT OR Apache-2.0"\nrepository = "https://github.com/rust/{name}"'
        crates = {
            number: packing.crate(
                name, number, packing.manifest(name, number, extra), {"README.md": f"# {name}\n\n{description}.\n"}
            )
            for number, _ in versions
        }
        body = b"".join(
            json.dumps(
                {
                    "name": name,
                    "vers": number,
                    "deps": [],
                    "cksum": hashlib.sha256(crates[number]).hexdigest(),
                    "features": {},
                    "yanked": False,
                    "pubtime": f"{NOW - timedelta(days=age):%Y-%m-%dT%H:%M:%SZ}",
                }
            ).encode()
            + b"\n"
            for number, age in versions
        )
        index_file = index_cache.store(index_path(name), "https://index.crates.io/", body)
        for line in index_lines.parse(body):
            crate_cache.store(index_file, line, io.BytesIO(crates[line.version]))
        CrateDownloads.objects.filter(name=name).update(total=downloads * 40, recent=downloads * 9)
    for cached in CachedCrate.objects.all():
        examination.examine(cached)


def create_packages(cast: "dict[str, User]") -> None:
    """Create a shared namespace with packages of three ecosystems, in two versions each."""
    from accounts.principals import Principal
    from namespaces import invitations, membership
    from namespaces.invitations import NAMESPACE
    from namespaces.models import Role
    from namespaces.role_assignments import NewRole
    from packages import collaboration, download_counts, release_input, releasing
    from packages.invitations import PACKAGE
    from packages.models import Release
    from tests.support.package_archives import pack_tgz

    alice = Principal(cast["alice"])
    membership.create_namespace(alice, "harbour")
    membership.add_members(alice, "harbour", [NewRole("bob", Role.MEMBER)])
    for name, ecosystem, description, kind in (
        ("tide-widget", "javascript", "A web component that shows the tide at a port", "PUBLIC"),
        ("yard-dashboard", "javascript", "The dashboard of the yard's foremen", "PUBLIC"),
        ("berth-report", "python", "Weekly reports of berth use as spreadsheets", "PUBLIC"),
        ("gate-keys", "java", "Keys of the gates", "PRIVATE"),
    ):
        for version in ("1.0.0", "1.1.0"):
            archive = pack_tgz(
                {
                    "package/package.json": json.dumps({"name": name, "version": version}),
                    "package/README.md": f"# {name}\n",
                }
            )
            needs = [release_input.Dependency(name=f"harbour-{part}", version="^2.1") for part in ("icons", "theme")]
            content = release_input.ReleaseInput(
                version=version,
                status="SNAPSHOT" if (name, version) == ("berth-report", "1.1.0") else "RELEASE",
                type=kind,
                dependencies=needs if ecosystem == "javascript" else [],
                dev_dependencies=needs[1:] if ecosystem == "javascript" else [],
                description=description,
                keywords=["harbour"],
                archive=release_input.Upload(io.BytesIO(archive), len(archive)),
            )
            if version == "1.0.0":
                releasing.create_package(alice, "harbour", name, ecosystem, content)
            else:
                releasing.publish_release(alice, "harbour", name, content)
    releasing.edit_package(alice, "harbour", "yard-dashboard", release_input.ReleaseEdit(status="DEPRECATED"))
    guest = [NewRole("charlie", Role.READ_ONLY)]
    collaboration.add_collaborators(alice, "harbour", "gate-keys", guest)
    invitations.invite(NAMESPACE, alice, ["harbour"], "charlie", Role.MANAGER)
    invitations.invite(PACKAGE, alice, ["harbour", "berth-report"], "charlie", Role.MEMBER)
    invitations.invite(PACKAGE, alice, ["harbour", "gate-keys"], "bob", Role.READ_ONLY)
    random, since = Random(5), NOW.date() - timedelta(days=60)
    for release in Release.objects.order_by("pk"):
        counts = daily_counts(random, 20 if release.version == "1.1.0" else 6, since)
        download_counts.store({(release.pk, day): count for day, count in counts})


if __name__ == "__main__":
    django.setup()
    fill()

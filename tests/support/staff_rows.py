"""A large registry as staff see it, in rows: for the admin site, at the sizes of a benchmark or of a test.

One row of each kind is busy: `Sizes.related` rows refer to it by each of its relations.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from itertools import count, islice
from random import Random
from typing import Any, TypeVar

from django.contrib.auth.hashers import make_password
from django.db import connection, transaction
from django.db.models import Model
from django.utils import timezone

from accounts import names as user_names
from accounts.models import (
    Authenticator,
    Ban,
    Credential,
    Identity,
    LoginFailure,
    NameReservation,
    Nonce,
    RecoveryCode,
    ReservedName,
    Role,
    RoleGrant,
    User,
)
from accounts.scopes import ALL_SCOPES
from crates import derived_fields, index, removal
from crates import names as crate_names
from crates.mirror.models import AllowedName, CachedCrate, CachedIndexFile, Incident, IndexSummary, Override
from crates.models import (
    Crate,
    DailyDownloads,
    Dependency,
    Follow,
    IndexLine,
    Ownership,
    Version,
    VersionContents,
    VersionDownloads,
)
from files.models import Client, ClientDownloads, ClientKey, FailedHandshakes, File, Rights, Session
from namespaces.models import MemberInvitation, Membership, Namespace
from packages import names as package_names
from packages import search as package_search
from packages.models import Collaboration, CollaboratorInvitation, Package, Release, SnapshotRevision, Status
from registry_site import counters
from registry_site.models import Action, AuditEvent, OutboxEntry
from tests.support.cast import PASSWORD
from tests.support.crate_rows import Listing, create_crates

Row = TypeVar("Row", bound=Model)

BATCH = 5_000
BUSY = "busy"  # name of the user, the crate, the namespace, the package and the client to which many rows refer
SPAN = timedelta(days=400)  # the time within which all happened
FIRST_NAMES = ("anna", "ben", "chi", "dora", "emil", "fatou", "goro", "hana", "ines", "jan", "kofi", "lena")
TOPICS = ("tokio", "json", "net", "parse", "log", "time", "crypt", "http", "geo", "audio", "graph", "queue")
DIGEST = "0" * 64


@dataclass(frozen=True)
class Sizes:
    """How many rows of each kind; `related` of them refer to the busy row, by each of its relations."""

    related: int
    users: int
    crates: int
    versions: int
    versions_of_busy: int
    namespaces: int
    packages: int
    credentials: int
    clients: int
    files: int
    events: int
    failures: int
    mirrored: int


LARGE = Sizes(
    related=2_000,
    users=20_000,
    crates=20_000,
    versions=60_000,
    versions_of_busy=1_000,
    namespaces=2_000,
    packages=10_000,
    credentials=60_000,
    clients=300,
    files=100_000,
    events=200_000,
    failures=20_000,
    mirrored=20_000,
)


def fill(sizes: Sizes) -> None:
    """Create the rows in an empty database, always the same but for the time that they are relative to."""
    world = World(sizes)
    for part in (
        world.create_users,
        world.create_namespaces,
        world.create_credentials,
        world.create_standing,
        world.create_crates,
        world.create_owners,
        world.create_packages,
        world.create_clients,
        world.create_files,
        world.create_mirror,
        world.create_failures,
        world.create_events,
        world.create_mails,
    ):
        with transaction.atomic():
            part()
    counters.recount_all()
    if connection.vendor == "postgresql" and not connection.in_atomic_block:
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = 0")
            cursor.execute("VACUUM ANALYZE")  # as its autovacuum does within minutes
    elif connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")  # as `manage.py purge` does


def batches(items: Iterable[Any], size: int = BATCH) -> Iterator[list[Any]]:
    """Cut items into lists of at most `size`."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def insert(rows: Iterable[Row]) -> list[Row]:
    """Insert rows of one model, batch by batch, and return them."""
    inserted: list[Row] = []
    for batch in batches(rows):
        inserted += type(batch[0])._default_manager.bulk_create(batch)
    return inserted


def digests() -> Iterator[str]:
    """Iterate over digests, each another one."""
    return (sha256(str(number).encode()).hexdigest() for number in count())


class World:
    """The rows that others refer to, and what chooses among them."""

    def __init__(self, sizes: Sizes) -> None:
        self.sizes = sizes
        self.random = Random(19)
        self.now = timezone.now().replace(microsecond=0)
        self.digests = digests()

    def moment(self) -> datetime:
        """Return some time before now."""
        return self.now - SPAN * self.random.random()

    def address(self) -> str:
        """Return an address of one of a few thousand machines."""
        return f"10.{self.random.randrange(4)}.{self.random.randrange(30)}.{self.random.randrange(1, 100)}"

    # --- Accounts ------------------------------------------------------------------------------------------------

    def create_users(self) -> None:
        """Create the users with their personal namespaces; the first is the busy one."""
        password = make_password(PASSWORD)
        names = [BUSY, *(f"{FIRST_NAMES[n % len(FIRST_NAMES)]}-{n:05}" for n in range(1, self.sizes.users))]
        reservations = insert(reserve(name) for name in names)
        self.users = insert(
            User(
                username=name,
                email=f"{name}@example.com",
                email_verified_at=self.now - SPAN if number % 7 else None,
                reservation=reservation,
                password=password,
                is_active=number % 50 != 49,
                is_staff=number % 1000 == 1,
                date_joined=self.moment(),
                last_login=self.moment() if number % 3 else None,
            )
            for number, (name, reservation) in enumerate(zip(names, reservations, strict=True))
        )
        self.busy, self.others = self.users[0], self.users[1 : self.sizes.related + 1]
        namespaces = insert(Namespace(name=u.username, reservation=u.reservation, user=u) for u in self.users)
        insert(Membership(namespace=n, user=n.user, role="OWNER") for n in namespaces if n.user)
        insert(reserve(f"former-{number:05}", former_user=self.busy) for number in range(self.sizes.related))

    def create_namespaces(self) -> None:
        """Create shared namespaces. The busy user is in many, and the busy namespace has many members and guests."""
        names = ["busy-team", *(f"team-{number:05}" for number in range(1, self.sizes.namespaces))]
        reservations = insert(reserve(name) for name in names)
        self.namespaces = insert(Namespace(name=row.name, reservation=row) for row in reservations)
        team, *rest = self.namespaces
        roles = ("OWNER", "MANAGER", "MEMBER", "READ_ONLY")
        insert(
            Membership(namespace=team, user=user, role=roles[number if number < 4 else 2], added_by=self.busy)
            for number, user in enumerate(self.others)
        )
        insert(
            Membership(namespace=namespace, user=user, role="OWNER", added_by=user)
            for number, namespace in enumerate(rest)
            for user in {self.busy, *(self.users[(number * 20 + n) % len(self.users)] for n in range(20 - number % 19))}
        )
        guests = self.users[-self.sizes.related :]
        ends_at = self.now + timedelta(days=7)
        insert(MemberInvitation(namespace=team, user=user, inviter=self.busy, ends_at=ends_at) for user in guests)
        insert(
            MemberInvitation(namespace=namespace, user=self.busy, inviter=user, ends_at=ends_at)
            for namespace, user in zip(rest, self.users[1:], strict=False)
        )

    def create_credentials(self) -> None:
        """Create tokens, sessions and app keys; `related` of each for the busy user."""
        insert(self.credential(self.busy, number) for number in range(self.sizes.related))
        rest = self.sizes.credentials - self.sizes.related
        credentials = insert(self.credential(self.random.choice(self.users), number) for number in range(rest))
        insert(Nonce(credential=credentials[0], digest=next(self.digests)) for _ in range(self.sizes.related))

    def credential(self, user: User, number: int) -> Credential:
        kind = list(Credential.Kind)[number % 5]
        created_at = self.moment()
        return Credential(
            user=user,
            kind=kind,
            name=f"{'ci' if number % 2 else 'laptop'}-{number}",
            digest=next(self.digests),
            scopes=list(ALL_SCOPES),
            crate_patterns=["busy-*"] if number % 4 == 0 else [],
            ip_address=self.address(),
            created_at=created_at,
            expires_at=created_at + timedelta(days=90) if number % 3 else None,
            revoked_at=self.now if number % 10 == 9 else None,
            last_used_at=self.now - timedelta(hours=number % 999) if number % 4 else None,
            last_used_ip=self.address() if number % 4 else None,
        )

    def create_standing(self) -> None:
        """Create bans, identities, second factors and roles, `related` of each for the busy user."""
        related, lifted = self.sizes.related, self.now
        insert(Ban(user=self.busy, reason="spam", created_by=self.busy, lifted_at=lifted) for _ in range(related))
        insert(
            Ban(user=user, reason=f"spam, case {number}", created_by=self.others[number], created_at=self.moment())
            for number, user in enumerate(self.users[5 :: max(1, len(self.users) // related)][: len(self.others)])
        )
        insert(Identity(user=self.busy, issuer="https://id.example.com", subject=f"s{n}") for n in range(related))
        insert(Authenticator(user=self.busy, kind="app", name=f"app {n}") for n in range(related))
        insert(RecoveryCode(user=self.busy, digest=next(self.digests)) for _ in range(related))
        insert(RoleGrant(user=user, role=role) for user in self.users[2:5] for role in Role)

    def create_failures(self) -> None:
        """Create failed log-ins: most by few names and addresses, half of them in the last day."""
        insert(
            LoginFailure(
                at=self.now - timedelta(days=1) * self.random.random() if number % 2 else self.moment(),
                name=self.random.choice(self.users[: 1 + number % 500]).username,
                ip_address=(address := self.address()),
                network=f"{address}/32",
                forgiven=number % 5 == 0,
                of_code=number % 11 == 0,
            )
            for number in range(self.sizes.failures)
        )

    # --- Crates --------------------------------------------------------------------------------------------------

    def create_crates(self) -> None:
        """Create crates with their versions, index files, dependencies and downloads; one is busy."""
        crate_count, others = self.sizes.crates, self.users[1:]
        listings = [self.listing(number) for number in range(crate_count)]
        for number, batch in enumerate(batches(listings, 1_000)):
            create_crates(batch, others[number % len(others)])
        self.crates = list(Crate.objects.order_by("pk"))
        versions = [crate.default_version for crate in self.crates if crate.default_version]
        more = self.sizes.versions_of_busy - 1
        each = (self.sizes.versions - crate_count - more) // max(1, crate_count - 1)
        versions += insert(
            self.version(crate, versions[0], minor)
            for number, crate in enumerate(self.crates)
            for minor in range(each if number else more)
        )
        insert(VersionDownloads(version=version, total=self.random.randrange(1_000)) for version in versions)
        insert(
            Dependency(version=versions[0], position=n, name=self.crates[n % crate_count].name, canonical_name=f"d{n}")
            for n in range(1, self.sizes.related + 1)
        )
        insert(
            DailyDownloads(version=versions[0], day=self.now.date() - timedelta(days=n), count=n)
            for n in range(self.sizes.related)
        )
        VersionContents.objects.filter(version=versions[0]).update(readme_text="word " * 20_000)
        self.write_index_files(versions)
        self.versions = versions
        busy = self.crates[0]
        derived = derived_fields.from_versions(busy, busy.versions.all())
        derived_fields.save(busy, derived, lambda crate: derived)
        insert(Follow(crate=busy, user=user) for user in self.others)
        for crate in self.crates[-5:]:
            removal.remove_crate_as_staff(crate, "malware", actor=self.busy)
        insert(
            ReservedName(kind="crate", pattern=f"kept-{number:05}", form=f"kept_{number:05}", reserved_by=user)
            for number, user in enumerate(self.others)
        )

    def listing(self, number: int) -> Listing:
        topic, need = TOPICS[number % len(TOPICS)], self.random.randrange(1 + number)
        needs = (BUSY, crate_name(need)) if 0 < number <= 10 * self.sizes.related else ()
        downloads = int(self.random.paretovariate(0.6))
        about = f"A small library for {topic}, the {number}th of its kind"
        return Listing(crate_name(number), about, (topic,), "", downloads, downloads % 99, (topic,), needs)

    def version(self, crate: Crate, model: Version, minor: int) -> Version:
        number = f"0.{minor}.0"
        return Version(
            crate=crate,
            number=number,
            release=number,
            checksum=DIGEST,
            size=self.random.randrange(1_000, 1_000_000),
            published_by=self.busy if crate.name == BUSY else self.random.choice(self.users),
            published_at=self.moment(),
            yanked=self.random.random() < 0.05,
            description=f"Version {number} of {crate.name}",
            license="MIT",
            dependencies=model.dependencies,
            features={"default": ["std"], "std": [], "extra": ["std"]},
        )

    def write_index_files(self, versions: Sequence[Version]) -> None:
        """Store the lines of each crate's index file."""
        names = {crate.pk: crate.name for crate in self.crates}
        counts = Counter(version.crate_id for version in versions)
        insert(
            IndexLine(version=version, crate_id=key, text=index.render_line(names[key], version))
            for version in versions
            for key in [version.crate_id]
        )
        with connection.cursor() as cursor:
            cursor.executemany(
                "UPDATE crates_crate SET version_count = %s WHERE id = %s",
                [(count, key) for key, count in counts.items()],
            )

    def create_owners(self) -> None:
        """Give each crate one to three owners; many own the busy crate, and the busy user owns many."""
        busy, *rest = self.crates
        insert(Ownership(crate=busy, user=user, added_by=self.busy) for user in self.others)
        insert(
            Ownership(crate=crate, user=user, added_by=user)
            for number, crate in enumerate(rest)
            for user in {
                *(self.users[(number + 7 * n) % len(self.users)] for n in range(1 + number % 3)),
                *([self.busy] if number < self.sizes.related else []),
            }
        )

    # --- Packages ------------------------------------------------------------------------------------------------

    def create_packages(self) -> None:
        """Create packages with a few releases; one is busy, and so are a release of it and the busy namespace."""
        team, related = self.namespaces[0], self.sizes.related
        packages = [
            Package(
                namespace=team if number <= related else self.random.choice(self.namespaces),
                **package_names.columns(BUSY if number == 0 else f"pack-{number:05}"),
                field=("text", "java", "npm")[number % 3],
                type="PRIVATE" if number % 20 == 3 else "PUBLIC",
            )
            for number in range(self.sizes.packages)
        ]
        for package in packages:
            package_search.set_listing(package)
        packages = insert(packages)
        busy = packages[0]
        releases = insert(
            self.release(package, minor)
            for number, package in enumerate(packages)
            for minor in range(2 if number else related)
        )
        newest = {release.package_id: release.pk for release in releases}
        with connection.cursor() as cursor:
            cursor.executemany(
                "UPDATE packages_package SET newest_id = %s WHERE id = %s",
                [(release, package) for package, release in newest.items()],
            )
        insert(Collaboration(package=busy, user=user, role="MEMBER", added_by=self.busy) for user in self.others)
        insert(
            Collaboration(package=package, user=self.busy, role="OWNER", added_by=self.busy)
            for package in packages[1 : related + 1]
        )
        ends_at = self.now + timedelta(days=7)
        insert(
            CollaboratorInvitation(package=busy, user=user, inviter=self.busy, ends_at=ends_at)
            for user in self.users[-related:]
        )
        insert(
            CollaboratorInvitation(package=package, user=self.busy, inviter=self.busy, ends_at=ends_at)
            for package in packages[1 : related + 1]
        )
        content = {name: value for name, value in releases[0].content().items() if name != "publisher"}
        insert(
            SnapshotRevision(release=releases[0], publisher=user, replaced_by=user, changed_fields=["size"], **content)
            for user in self.others
        )

    def release(self, package: Package, minor: int) -> Release:
        version = f"1.{minor}.0"
        return Release(
            package=package,
            version=version,
            canonical_version=version,
            publisher=self.random.choice(self.users),
            published_at=self.moment(),
            status=Status.SNAPSHOT,
            description=f"Package {package.name}",
            keywords=["one", "two"],
            size=self.random.randrange(1_000_000),
            sha256=DIGEST,
            files=[{"path": f"folder/file-{n}.txt", "size": n} for n in range(5)],
        )

    # --- Files ---------------------------------------------------------------------------------------------------

    def create_clients(self) -> None:
        """Create machines with keys and sessions."""
        clients = insert(
            Client(
                name=BUSY if number == 0 else f"receiver-{number:04}",
                description=f"Receiver in harbour {number}",
                maintainer=FIRST_NAMES[number % len(FIRST_NAMES)],
                rights=Rights.WRITE if number % 10 == 0 else Rights.READ,
                is_active=number % 20 != 19,
            )
            for number in range(self.sizes.clients)
        )
        insert(ClientKey(client=client, cipher="AES-CBC", secret="-", bits=256) for client in clients)
        insert(self.session(clients[0], number) for number in range(self.sizes.related))
        days = [self.now.date() - timedelta(days=number) for number in range(self.sizes.related)]
        insert(FailedHandshakes(client=clients[0], day=day, count=2) for day in days)
        insert(ClientDownloads(client=clients[0], day=day, count=2) for day in days)
        insert(self.session(client, number) for client in clients[1:] for number in range(10))

    def session(self, client: Client, number: int) -> Session:
        created_at = self.moment()
        return Session(
            client=client,
            digest=next(self.digests),
            peer=self.address(),
            created_at=created_at,
            expires_at=self.now + timedelta(hours=number + 1),
            ended_at=created_at + timedelta(hours=1) if number % 4 == 3 else None,
        )

    def create_files(self) -> None:
        for numbers in batches(range(self.sizes.files)):
            insert(
                File(
                    path=f"/srv/{topic}/{number:06}.txt",
                    serve_path=f"{topic}/{number % 300:03}/{number:06}.txt",
                    size=self.random.randrange(1_000_000),
                    category=topic if number % 50 else None,
                    aired=number % 10 != 9,
                    alive=number % 50 != 13,
                    uploaded_at=(at := self.now - SPAN * (1 - number / self.sizes.files)),
                    modified_at=at,
                )
                for number in numbers
                for topic in [TOPICS[number % len(TOPICS)]]
            )

    # --- The mirror ----------------------------------------------------------------------------------------------

    def create_mirror(self) -> None:
        """Create index files, cached crates, incidents, overrides and allowed names; one crate has many versions."""
        upstream, related = "https://index.crates.example/", self.sizes.related
        names = [f"mirrored-{BUSY}", *(f"mirrored-{number:05}" for number in range(1, self.sizes.mirrored))]
        index_files = insert(
            CachedIndexFile(
                path=crate_names.index_path(name),
                name=name,
                upstream=upstream,
                status=200 if number % 30 else 404,
                body=b"".join(index_line(name, n) for n in range(3 if number else related)),
                checksums={f"1.{n}.0": DIGEST for n in range(3 if number else related)},
                changed_at=self.moment(),
                checked_at=self.moment(),
            )
            for number, name in enumerate(names)
        )
        insert(
            IndexSummary(
                index_file=index_file,
                name=index_file.name,
                canonical_name=crate_names.canonical(index_file.name),
                name_words=index_file.name,
                version_count=3,
                created_at=self.now,
                updated_at=self.now,
                lines=[],
            )
            for index_file in index_files
        )
        insert(
            CachedCrate(
                name=name,
                version=f"1.{minor}.0",
                sha256=DIGEST,
                size=self.random.randrange(1_000_000),
                license="MIT OR Apache-2.0",
                upstream=upstream,
                fetched_at=self.moment(),
                last_used_at=self.moment(),
            )
            for number, name in enumerate(names)
            for minor in range(1 if number else related)
        )
        insert(self.incident(name, number) for number, name in enumerate(names[: 2 * related]))
        insert(
            Override(kind="blocked", name=name, reason=f"malware, case {n}", created_by=user, created_at=self.moment())
            for n, (name, user) in enumerate(zip(names, self.others, strict=False))
        )
        insert(
            AllowedName(name=name, user=user, allowed_by=self.others[-1 - number])
            for number, (name, user) in enumerate(zip(names, self.others, strict=False))
        )

    def incident(self, name: str, number: int) -> Incident:
        return Incident(
            kind=list(Incident.Kind)[number % 3],
            subject=f"{name}@1.0.0",
            detail="The checksum is another one than before",
            count=1 + number % 9,
            first_at=self.moment(),
            last_at=self.moment(),
            settled_at=None if number % 20 == 0 else self.now,
        )

    # --- Events and mails ----------------------------------------------------------------------------------------

    def create_events(self) -> None:
        """Create the events of the audit log, in the order of their times."""
        size = self.sizes.events
        for numbers in batches(range(size)):
            insert(self.event(number, self.now - SPAN * (1 - number / size)) for number in numbers)

    def event(self, number: int, at: datetime) -> AuditEvent:
        kind = number % 10
        actor = self.busy if number % 97 == 0 else self.random.choice(self.users)
        target: Any = actor
        action, detail = Action.USER_LOG_IN, {"door": "browser session", "client": "Firefox"}
        if kind < 4:
            target = self.versions[0] if number % 50 == 0 else self.random.choice(self.versions)
            action, detail = Action.CRATE_PUBLISH, {"token": "ci"}
        elif kind == 4:
            target, action = self.random.choice(self.crates), Action.CRATE_ADD_OWNERS
            detail = {"added": "anna-00012"}
        elif kind == 5:
            action, detail = Action.TOKEN_ISSUE, {"token": "ci", "scopes": "publish"}
        return AuditEvent(
            at=at,
            actor=actor,
            actor_name=actor.username,
            action=action,
            target=str(target),
            object_type=target._meta.label_lower,
            object_id=target.pk,
            ip_address=self.address(),
            request_id=f"{number:032x}",
            detail=detail,
        )

    def create_mails(self) -> None:
        insert(
            OutboxEntry(
                kind="notification",
                recipient=user.email,
                mailbox=user.email,
                created_at=(at := self.moment()),
                give_up_at=at + timedelta(days=1),
                state=("sent", "failed")[number % 40 == 0],
                ended_at=at,
                error="" if number % 40 else "The mail server refused it.",
            )
            for number, user in enumerate(self.users)
        )


def reserve(name: str, former_user: User | None = None) -> NameReservation:
    return NameReservation(name=name, skeleton=user_names.skeleton(name), former_user=former_user)


def crate_name(number: int) -> str:
    return BUSY if number == 0 else f"{TOPICS[number % len(TOPICS)]}-crate-{number:05}"


def index_line(name: str, minor: int) -> bytes:
    line = {"name": name, "vers": f"1.{minor}.0", "deps": [], "cksum": DIGEST, "features": {}, "yanked": False}
    return f"{json.dumps(line)}\n".encode()

"""Publishing versions, and the fields of a crate that are derived from its versions."""

from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.models import User
from accounts.principals import Principal
from accounts.scopes import Scope
from crates import index, names, ownership
from crates.mirror import shared_names
from crates.models import Crate, Ownership, Version
from crates.package import archive, manifest, upload
from crates.package.dependencies import Registries
from registry_site import audit, semantic_versions
from registry_site.errors import Conflict
from registry_site.rate_limits import RateLimit
from registry_site.storage import blobs


@dataclass(frozen=True)
class PublishResult:
    """A version that is in the index, and the warnings for its publisher."""

    version: Version
    invalid_categories: list[str]
    warnings: list[str]


# --- Publish ----------------------------------------------------------------------------------------------------


def publish(principal: Principal, body: upload.Readable, length: int) -> PublishResult:
    """Publish a version from a publish body of `length` bytes.

    The same bytes again succeed and change nothing; other bytes for the same version are a `Conflict`.
    Raises `Invalid`, `TooLarge`, `PermissionDenied`, `Conflict`, `TooManyRequests`, `Unauthenticated` and
    `Unavailable`; then nothing has changed.
    """
    principal.require(Scope.PUBLISH)
    own = tuple(f"sparse+{origin}/index/" for origin in (settings.PUBLIC_URL, *settings.ALSO_KNOWN_AS))
    registries = Registries(own, frozenset(settings.ALLOWED_REGISTRIES))
    with upload.receive(body, length, settings.MAX_CRATE_SIZE) as received:
        metadata = manifest.parse_metadata(received.metadata)
        principal.require(Scope.PUBLISH, metadata.name)
        # A refusal that is already certain saves reading and storing the archive. These checks are repeated below
        # under locks, since an upload can take minutes.
        check_publish_rate(principal.user)
        crate = Crate.objects.named(metadata.name).first()
        if crate is not None:
            require_publisher(crate, principal, metadata.name)
        compressed_size = length - len(received.metadata) - upload.LENGTHS_SIZE
        contents = archive.read(received.crate, compressed_size, f"{metadata.name}-{metadata.version}")
        packed = manifest.parse_packed(contents.cargo_toml, registries, contents.paths)
        manifest.check_agreement(metadata, packed)
        # Outside of the transaction, since upstream may take seconds.
        upstream = Crate.Upstream.LACKS if crate is not None else shared_names.check_new_name(packed.name)
        # The blob is durable before a row names it. A crash in between leaves an orphan, which is harmless.
        blob = blobs.put(received.crate)
    with transaction.atomic():
        # Lock order: the user's row, so that a ban or revocation comes before or after; then the crate's row, so that
        # versions of one crate are inserted, and its index text is written, one after another.
        principal.revalidate_and_lock()
        crate = lock_or_create_crate(principal, packed.name, upstream)
        version = insert_version(principal, crate, packed, blob)
    return PublishResult(version, packed.invalid_categories, packed.warnings())


def check_publish_rate(user: User) -> None:
    """Limit the versions that a user publishes within a few seconds; raises `TooManyRequests`."""
    number = settings.PUBLISH_LIMIT_PER_10_SECONDS
    if number:
        message = f"{user} has published {number} versions within 10 seconds; wait a little."
        limit = RateLimit("publishes", number, timedelta(seconds=10), message)
        limit.check_rows(Version.objects.filter(published_by=user), "published_at")


def require_publisher(crate: Crate, principal: Principal, name: str) -> None:
    """Require the spelling of the first publish, and an owner; raises `Conflict` and `PermissionDenied`."""
    if crate.name != name:
        raise Conflict(f"the crate, {name}, is the same name as {crate.name}, which exists here; use that spelling.")
    ownership.require_owner(crate, principal)


def lock_or_create_crate(principal: Principal, name: str, upstream: Crate.Upstream) -> Crate:
    """Return the crate of this name, locked until the transaction ends; the first publisher becomes its owner.

    Raises `Conflict` and `PermissionDenied`.
    """
    locked = Crate.objects.named(name).for_update()
    crate = locked.first()
    if crate is None:
        try:
            # In PostgreSQL a failed insert ends the whole transaction, unless a savepoint surrounds it.
            with transaction.atomic():
                crate = Crate.objects.create(
                    name=name,
                    canonical_name=names.canonical(name),
                    index_path=names.index_path(name),
                    upstream=upstream,
                )
        except IntegrityError:  # another publisher has created the crate since
            crate = locked.get()
        else:
            # No other transaction sees the new row before the commit, so it needs no lock.
            Ownership.objects.create(crate=crate, user=principal.user, added_by=principal.user)
            return crate
    require_publisher(crate, principal, name)
    return crate


def insert_version(principal: Principal, crate: Crate, packed: manifest.Manifest, blob: blobs.Blob) -> Version:
    """Insert a version into its locked crate, or return the present one if its bytes are the same.

    Raises `Conflict` and `TooManyRequests`.
    """
    # Build metadata does not make another version: cargo could not tell `1.0.0+a` and `1.0.0+b` apart.
    release = semantic_versions.without_build(packed.version)
    present = crate.versions.filter(release=release).first()
    if present is not None:
        if (present.number, present.checksum) == (packed.version, blob.sha256):
            return present
        raise Conflict(f"the crate, {crate} v{present.number}, already exists; publish under a new version.")
    check_publish_rate(principal.user)
    version = Version.objects.create(
        crate=crate,
        number=packed.version,
        release=release,
        checksum=blob.sha256,
        size=blob.size,
        published_by=principal.user,
        dependencies=[dependency.index_entry() for dependency in packed.dependencies],
        features=packed.features,
        links=packed.links,
        rust_version=packed.rust_version,
        description=packed.description,
        license=packed.license,
        homepage=packed.homepage,
        repository=packed.repository,
        documentation=packed.documentation,
        keywords=packed.keywords,
        categories=packed.categories,
    )
    update_derived_fields(crate)
    audit.record(principal.user, audit.Action.CRATE_PUBLISH, version, sha256=blob.sha256, size=blob.size)
    return version


# --- Derived fields ---------------------------------------------------------------------------------------------


def update_derived_fields(crate: Crate) -> None:
    """Derive search and index fields from the versions of a locked crate, in the transaction that changed one."""
    rows = list(crate.versions.order_by("pk"))
    usable = [version for version in rows if not version.yanked]
    newest = max(usable, key=lambda version: semantic_versions.parse(version.number), default=None)
    words = [crate.name, newest.description, *newest.keywords] if newest else [crate.name]
    crate.newest = newest
    crate.search_text = names.canonical(" ".join(words))
    # Last-Modified has whole seconds. Two changes in one second must not share it, or a client would keep the older
    # text: so it goes at least one second further each time. Until that time comes, the header is not sent.
    now = timezone.now().replace(microsecond=0)
    is_first = not crate.index_etag
    crate.index_modified = now if is_first else max(now, crate.index_modified + timedelta(seconds=1))
    crate.index_text = index.render(crate.name, rows)
    crate.index_etag = index.etag(crate.index_text)
    crate.save()

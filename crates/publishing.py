"""Publishing versions."""

from dataclasses import dataclass
from functools import partial

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.models import QuerySet

from accounts.models import Credential
from accounts.principals import Principal
from accounts.scopes import Scope
from crates import (
    dependency_rows,
    derived_fields,
    index,
    names,
    ownership,
    readme_rendering,
    removal,
    reserved_names,
    search,
    throttling,
    version_facts,
)
from crates.mirror import shared_names
from crates.models import Crate, CrateDownloads, Ownership, Version, VersionContents
from crates.package import archive, facts, manifest, upload
from crates.package.dependencies import Registries
from registry_site import announcements, audit, semantic_versions
from registry_site.compiled_queries import compiled
from registry_site.errors import Conflict
from registry_site.row_writes import insert
from registry_site.storage import blobs, stored_blobs


@dataclass(frozen=True)
class PublishResult:
    """A version that is in the index, and the warnings for its publisher."""

    version: Version
    invalid_categories: list[str]
    warnings: list[str]


def publish(principal: Principal, body: upload.Readable, length: int) -> PublishResult:
    """Publish a version from a publish body of `length` bytes.

    The same bytes again succeed and change nothing; other bytes for the same version are a `Conflict`.
    Raises `Invalid`, `TooLarge`, `PermissionDenied`, `Conflict`, `TooManyRequests`, `Unauthenticated` and
    `Unavailable`; then nothing has changed.
    """
    principal.require_any(Scope.PUBLISH_NEW, Scope.PUBLISH_UPDATE)
    own = tuple(f"sparse+{origin}/index/" for origin in (settings.PUBLIC_URL, *settings.ALSO_KNOWN_AS))
    registries = Registries(own, frozenset(settings.ALLOWED_REGISTRIES))
    with upload.receive(body, length, settings.MAX_CRATE_SIZE) as received:
        metadata = manifest.parse_metadata(received.metadata)
        # A refusal that is already certain saves reading and storing the archive. These checks are repeated below
        # under locks, since an upload can take minutes.
        throttling.check_publish_rate(principal.user)
        crate = next(iter(crates_with_removed(names.canonical(metadata.name))), None)
        is_new = crate is None or crate.removed_at is not None
        require_scope(principal, metadata.name, is_new=is_new)
        if crate is not None and not is_new:
            require_publisher(crate, principal, metadata.name)
            throttling.check_change_rate(principal.user, crate)
        else:
            reserved_names.check(metadata.name)
        if crate is not None:
            removal.require_free_name(crate, principal.user)
            present = get_present_version(crate, metadata.version)
            if present is not None:  # so nothing is read out of the archive
                require_same(present, metadata.version, blobs.sha256_of(received.crate))
                stored_blobs.put(received.crate)  # it mends bytes that were damaged
                warning = f"{present} was published before with the same bytes: nothing changes"
                return PublishResult(present, [], [warning, *announcements.publish_warnings()])
        compressed_size = length - len(received.metadata) - upload.LENGTHS_SIZE
        contents = archive.read(received.crate, compressed_size, f"{metadata.name}-{metadata.version}")
        packed = manifest.parse_packed(contents.cargo_toml, registries, contents.paths)
        manifest.check_agreement(metadata, packed)
        read = facts.read(packed.document, contents, received.crate, compressed_size)
        blob = blobs.identify(received.crate)
        version = new_version(principal, packed, blob)
        version_facts.assign(version, read)
        line = index.new_line(packed.name, version)
        texts = version_facts.new_contents(read)
        # Outside of the transaction, since upstream may take seconds.
        upstream = shared_names.check_new_name(packed.name, principal.user) if is_new else None
        # The blob is durable before a row names it. What a crash in between leaves behind is deleted a day later.
        stored_blobs.put_identified(blob, received.crate)
    readme_path = version_facts.readme_path(read)
    version = insert_version(principal, packed.name, version, line, texts, readme_path, upstream)
    warnings = [*packed.warnings(), *read.omissions, *announcements.publish_warnings()]
    return PublishResult(version, packed.invalid_categories, warnings)


@compiled
def crates_with_removed(canonical_name: str) -> QuerySet[Crate]:
    return Crate.with_removed.filter(canonical_name=canonical_name).order_by()


def insert_version(
    principal: Principal,
    name: str,
    version: Version,
    line: str,
    contents: VersionContents,
    readme_path: str,
    upstream: Crate.Upstream | None,
) -> Version:
    """Insert a version into its crate, or return the present one if its bytes are the same.

    `line` is for the index file, and `readme_path` the README's path in the repository. `upstream` is None for a crate
    that was there before.

    Raises `Conflict`, `Invalid`, `PermissionDenied`, `TooManyRequests` and `Unauthenticated`.
    """
    words = search.words_of(name, version, contents.readme_text)
    with transaction.atomic():
        # Lock order: the user's row, so that a ban or revocation comes before or after; then the crate's row, so that
        # versions of one crate, and the lines of its index file, are inserted one after another; then the rows of its
        # keywords and categories (`taxonomy`).
        principal.revalidate_and_lock()
        crate = lock_or_create_crate(principal, name, upstream)
        present = None if crate.is_new else get_present_version(crate, version.number)
        if present is not None:
            require_same(present, version.number, version.checksum)
            return present
        throttling.check_publish_rate(principal.user)
        throttling.check_change_rate(principal.user, crate)
        stored_blobs.hold(version.checksum)
        version.crate = crate
        insert(version)
        contents.version = version
        insert(contents)
        if contents.readme_text:
            readme_rendering.add(contents, readme_path)
        derived_fields.save(crate, None, partial(derived_fields.after_publish, version=version, line=line), words)
        dependency_rows.store(version, is_current=crate.default_version_id == version.pk)
        detail = {"sha256": version.checksum, "size": version.size}
        audit.record(principal.user, audit.Action.CRATE_PUBLISH, version, **detail)
    return version


def require_scope(principal: Principal, name: str, *, is_new: bool) -> None:
    """Require the scope for a new crate, or the one for an existing crate; raises `PermissionDenied`."""
    principal.require(Scope.PUBLISH_NEW if is_new else Scope.PUBLISH_UPDATE, crate=name)


def require_publisher(crate: Crate, principal: Principal, name: str) -> None:
    """Require the spelling of the first publish, and an owner; raises `Conflict` and `PermissionDenied`."""
    if crate.name != name:
        raise Conflict(f"the crate, {name}, is the same name as {crate.name}, which exists here; use that spelling.")
    ownership.require_owner(crate, principal)


def lock_or_create_crate(principal: Principal, name: str, upstream: Crate.Upstream | None) -> Crate:
    """Return the crate of this name, locked until the transaction ends; the first publisher becomes its owner.

    So does the first one after a removed crate, unless its owners come back in time.

    Raises `Conflict` and `PermissionDenied`.
    """
    canonical_name = names.canonical(name)
    crate = next(iter(locked_crates_with_removed(canonical_name)), None)
    if crate is None:
        require_scope(principal, name, is_new=True)
        try:
            crate = Crate(
                name=name,
                canonical_name=canonical_name,
                index_path=names.index_path(name),
                upstream=upstream or Crate.Upstream.LACKS,
            )
            # In PostgreSQL a failed insert ends the whole transaction, unless a savepoint surrounds it. On SQLite there
            # is no other writer, so that it cannot fail.
            with transaction.atomic(savepoint=connection.features.has_select_for_update):
                insert(crate)
        except IntegrityError:  # another publisher has created the crate since
            [crate] = locked_crates_with_removed(canonical_name)
        else:
            # No other transaction sees the new row before the commit, so it needs no lock.
            insert(Ownership(crate=crate, user=principal.user, added_by=principal.user))
            insert(CrateDownloads(crate=crate))
            return crate
    if crate.removed_at is not None:
        if upstream is None:
            raise Conflict(f"the crate, {name}, was removed just now; publish again.")
        require_scope(principal, name, is_new=True)
        removal.begin_again(crate, name, principal.user, upstream)
    else:
        require_scope(principal, name, is_new=False)  # another publisher may have created it since the first check
    require_publisher(crate, principal, name)
    return crate


@compiled
def locked_crates_with_removed(canonical_name: str) -> QuerySet[Crate]:
    return Crate.with_removed.filter(canonical_name=canonical_name).for_update().order_by()


def get_present_version(crate: Crate, number: str) -> Version | None:
    """Return the version of a crate that has this number; raises `Conflict` for one that was removed."""
    # Build metadata does not make another version: cargo could not tell `1.0.0+a` and `1.0.0+b` apart.
    version = next(iter(versions_of_release(crate.pk, semantic_versions.without_build(number))), None)
    if version is not None:
        version.crate = crate
        removal.require_present(version)
    return version


@compiled
def versions_of_release(crate: int, release: str) -> QuerySet[Version]:
    rows = Version.with_removed.filter(crate=crate, release=release).order_by()
    return rows.only("number", "checksum", "removed_at", "removal_reason")


def require_same(present: Version, number: str, sha256: str) -> None:
    """Raise `Conflict` for other bytes than those that were published before."""
    if (present.number, present.checksum) != (number, sha256):
        raise Conflict(f"the crate, {present.crate} v{present.number}, already exists; publish under a new version.")


def way_of(principal: Principal) -> str:
    """Return by what a publisher has proved the account, for people: the name of a token, or the sign-on."""
    credential = principal.credential
    if credential is None:
        return ""
    if credential.name == Credential.DEFAULT_NAME and not principal.user.has_usable_password():
        return "sign-on"  # only a sign-in at the provider shows this token
    return f"token {credential.name}"


def new_version(principal: Principal, packed: manifest.Manifest, blob: blobs.Blob) -> Version:
    """Return a version that is not stored yet, without its crate."""
    return Version(
        number=packed.version,
        release=semantic_versions.without_build(packed.version),
        checksum=blob.sha256,
        size=blob.size,
        published_by=principal.user,
        published_with=way_of(principal),
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

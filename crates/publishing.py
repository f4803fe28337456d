"""Publishing a version, and yanking it: the verbs of which the index is made."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts import audit
from accounts.models import User
from accounts.principals import Principal
from accounts.scopes import Scope
from crates import index, names, ownership
from crates.models import Crate, Ownership, Version
from crates.package import archive, manifest, upload
from crates.package.dependencies import Registries
from registry_site import versions
from registry_site.errors import Conflict, NotFound, TooManyRequests
from registry_site.storage import blobs

BURST_SECONDS = 10


@dataclass(frozen=True)
class PublishResult:
    """A version that is in the index, and what its publisher should know."""

    version: Version
    invalid_categories: list[str]
    warnings: list[str]


def publish(principal: Principal, body: upload.Readable, length: int) -> PublishResult:
    """Take a publish body of `length` bytes. The same bytes again are a success, other bytes never.

    Raises `Invalid`, `TooLarge`, `PermissionDenied`, `Conflict`, `TooManyRequests`, `Unauthenticated` and
    `Unavailable`; then nothing has changed.
    """
    principal.require(Scope.PUBLISH)
    registries = own_registries()
    with upload.receive(body, length, settings.MAX_CRATE_SIZE) as received:
        metadata = manifest.parse_metadata(received.metadata, registries)
        principal.require(Scope.PUBLISH, metadata.name)
        _refuse_early(principal, metadata.name)
        compressed = length - len(received.metadata) - 8
        contents = archive.read(received.crate, compressed, f"{metadata.name}-{metadata.version}")
        packed = manifest.parse_packed(contents.cargo_toml, registries, contents.paths)
        manifest.check_agreement(metadata, packed)
        blob = blobs.put(received.crate)
    with transaction.atomic():
        principal.revalidate_and_lock()
        crate = _claim(principal, packed.name)
        version = _insert(principal, crate, packed, blob)
    return PublishResult(version, packed.invalid_categories, packed.warnings)


def own_registries() -> Registries:
    return Registries(f"sparse+{settings.PUBLIC_URL}/index/", frozenset(settings.ALLOWED_REGISTRIES))


def yank(principal: Principal, name: str, number: str) -> None:
    """Keep new projects from a version; who has it locked still gets it. Twice is once.

    Raises `NotFound`, `PermissionDenied` and `Unauthenticated`.
    """
    _set_yanked(principal, name, number, yanked=True)


def unyank(principal: Principal, name: str, number: str) -> None:
    """Undo `yank`; raises the same."""
    _set_yanked(principal, name, number, yanked=False)


def set_yanked_as_staff(version: Version, *, yanked: bool, actor: User) -> bool:
    """Yank or unyank a crate of others; False when it was so before."""
    with transaction.atomic():
        return _change_yanked(ownership.lock_for_update(version.crate), version.number, yanked=yanked, actor=actor)


def _set_yanked(principal: Principal, name: str, number: str, *, yanked: bool) -> None:
    principal.require(Scope.YANK, name)
    with transaction.atomic():
        crate = ownership.get_owned_for_update(principal, name)
        _change_yanked(crate, number, yanked=yanked, actor=principal.user)


def _change_yanked(crate: Crate, number: str, *, yanked: bool, actor: User) -> bool:
    version = crate.versions.filter(number=number).first()
    if version is None:
        raise NotFound(f"The crate {crate} has no version {number[:80]!r}.")
    if version.yanked == yanked:
        return False
    version.yanked = yanked
    version.save(update_fields=["yanked"])
    update_derived_fields(crate)
    audit.record(actor, "crate.yank" if yanked else "crate.unyank", str(version))
    return True


def update_derived_fields(crate: Crate) -> None:
    """Derive from the versions all that the crate's row keeps ready, in the transaction that changed one."""
    rows = list(crate.versions.order_by("pk"))
    crate.newest = _newest(rows)
    crate.search_text = _search_text(crate)
    crate.index_text = index.render(crate.name, rows)
    crate.index_etag = index.etag(crate.index_text)
    crate.index_modified = _later(crate.index_modified)
    crate.save()


def _later(moment: datetime) -> datetime:
    """Now, in whole seconds, but always after `moment`: no two texts have the same Last-Modified."""
    return max(timezone.now().replace(microsecond=0), moment.replace(microsecond=0) + timedelta(seconds=1))


def _newest(rows: Iterable[Version]) -> Version | None:
    usable = [version for version in rows if not version.yanked]
    return max(usable, key=lambda version: versions.parse(version.number), default=None)


def _search_text(crate: Crate) -> str:
    newest = crate.newest
    words = [crate.name] if newest is None else [crate.name, newest.description, *newest.keywords]
    return names.canonical(" ".join(words))


def _refuse_early(principal: Principal, name: str) -> None:
    """What is certain before the crate is read is refused before it is stored; `publish` looks again later."""
    _refuse_flood(principal)
    crate = Crate.objects.named(name).first()
    if crate is not None:
        _refuse_other_spelling(crate, name)
        ownership.require_owner(crate, principal)


def _refuse_flood(principal: Principal) -> None:
    if not settings.PUBLISH_LIMIT_PER_10_SECONDS:
        return
    since = timezone.now() - timedelta(seconds=BURST_SECONDS)
    published = Version.objects.filter(published_by=principal.user, published_at__gt=since).count()
    if published >= settings.PUBLISH_LIMIT_PER_10_SECONDS:
        raise TooManyRequests(
            f"{principal.user} has published {published} versions within {BURST_SECONDS} seconds; wait a little.",
            retry_after=BURST_SECONDS,
        )


def _refuse_other_spelling(crate: Crate, name: str) -> None:
    if crate.name != name:
        raise Conflict(f"the crate, {name}, is the same name as {crate.name}, which exists here; use that spelling.")


def _claim(principal: Principal, name: str) -> Crate:
    """The crate of this name, locked and owned by the principal; made when there is none."""
    held = Crate.objects.select_for_update(no_key=True)
    crate = held.named(name).first()
    if crate is None:
        try:
            with transaction.atomic():
                crate = Crate.objects.create(
                    name=name, canonical_name=names.canonical(name), index_path=names.index_path(name)
                )
        except IntegrityError:  # another publisher was first by a moment
            crate = held.named(name).get()
        else:
            Ownership.objects.create(crate=crate, user=principal.user, added_by=principal.user)
            return crate
    _refuse_other_spelling(crate, name)
    ownership.require_owner(crate, principal)
    return crate


def _insert(principal: Principal, crate: Crate, packed: manifest.Manifest, blob: blobs.Blob) -> Version:
    release = versions.without_build(packed.version)
    before = crate.versions.filter(release=release).first()
    if before is not None:
        if (before.number, before.checksum) == (packed.version, blob.sha256):
            return before
        raise Conflict(f"the crate, {crate} v{before.number}, already exists; publish under a new version.")
    _refuse_flood(principal)
    version = Version.objects.create(
        crate=crate,
        number=packed.version,
        release=release,
        checksum=blob.sha256,
        size=blob.size,
        published_by=principal.user,
        dependencies=[asdict(dependency) for dependency in packed.dependencies],
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
    audit.record(principal.user, "crate.publish", str(version), sha256=blob.sha256, size=blob.size)
    return version

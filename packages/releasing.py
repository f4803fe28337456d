"""The life of a package: created, published again and again, edited, removed."""

from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts import audit
from accounts.models import User
from accounts.principals import Principal
from accounts.scopes import Scope
from namespaces import membership
from namespaces.models import Namespace, NamespaceQuerySet, Role
from packages import archives, lookup, names, purge, release_input, rights, search
from packages.models import Collaboration, Package, Release, ReleaseContent, SnapshotRevision, Status, Type
from packages.release_input import ReleaseInput, Upload
from registry_site import versions
from registry_site.errors import Conflict, Invalid, PermissionDenied, TooLarge
from registry_site.storage import blobs


@dataclass(frozen=True)
class _Stored:
    """An archive that is in the store of blobs; empty without one."""

    sha256: str = ""
    size: int = 0
    files: list[dict[str, Any]] = field(default_factory=list)


def create_package(
    principal: Principal, namespace_name: str, name: str, ecosystem: str, draft: ReleaseInput
) -> Release:
    """A package with its first release; its creator becomes its owner.

    Raises `Invalid`, also for a namespace that does not exist, `Conflict` for a taken name, `PermissionDenied`,
    `TooLarge` and `Unavailable`.
    """
    principal.require(Scope.PUBLISH)
    names.validate(name)
    release_input.validate_ecosystem(ecosystem)
    version = release_input.validate(draft, may_be=(Status.RELEASE, Status.SNAPSHOT))
    _require_creator(_namespace(namespace_name, Namespace.objects.all()), principal.user)
    stored = _store(draft.archive)
    with transaction.atomic():
        principal.revalidate_and_lock()
        namespace = _namespace(namespace_name, Namespace.objects.select_for_update(no_key=True))
        _require_creator(namespace, principal.user)
        package = _insert(namespace, name, ecosystem, Type(draft.type or Type.PUBLIC))
        Collaboration.objects.create(package=package, user=principal.user, role=Role.OWNER, added_by=principal.user)
        release = _release(package, version, draft, stored, principal.user)
        update_derived_fields(package, release)
        audit.record(principal.user, "package.create", str(package), version=version, type=package.type)
    return release


def publish_release(
    principal: Principal, namespace_name: str, name: str, draft: ReleaseInput, package_id: int | None = None
) -> Release:
    """Another version, or another state of a snapshot. What was a RELEASE never changes: the same again is a success.

    Raises `Invalid`, also for a package that does not exist or may not be read, `Conflict` for other content of a
    released version, `PermissionDenied`, `TooLarge` and `Unavailable`.
    """
    principal.require(Scope.PUBLISH)
    version = release_input.validate(draft, may_be=(Status.RELEASE, Status.SNAPSHOT))
    missing = Invalid(f"There is no package {namespace_name[:80]}/{name[:80]}.", code="package_missing")
    _require_publisher(lookup.readable(principal.user, namespace_name, name, package_id, missing), principal.user)
    stored = _store(draft.archive)
    with transaction.atomic():
        principal.revalidate_and_lock()
        package = lookup.readable(principal.user, namespace_name, name, package_id, missing, held=True)
        _require_publisher(package, principal.user)
        release = _publish(package, version, draft, stored, principal.user)
    return release


def edit_package(
    principal: Principal, namespace_name: str, name: str, draft: ReleaseInput, package_id: int | None = None
) -> Release:
    """Change what the newest release says of itself, and who may see the package.

    Raises `NotFound`, `PermissionDenied`, `Invalid`, and `Conflict` for what a RELEASE has promised.
    """
    principal.require(Scope.PUBLISH)
    release_input.validate(draft, may_be=tuple(Status))
    with transaction.atomic():
        principal.revalidate_and_lock()
        missing = lookup.no_such(namespace_name, name)
        package = lookup.readable(principal.user, namespace_name, name, package_id, missing, held=True)
        _require_publisher(package, principal.user)
        release = package.newest
        if release is None:
            raise Invalid("The package has no release to edit.")
        _edit(release, draft, principal.user)
        _set_type(package, draft)
        update_derived_fields(package, release)
        audit.record(principal.user, "package.edit", str(release), status=release.status, type=package.type)
    return release


def remove_package(principal: Principal, namespace_name: str, name: str) -> bool:
    """Put a package into the trash; False when there is none that the principal may read. Raises `PermissionDenied`."""
    principal.require(Scope.MANAGE)
    with transaction.atomic():
        principal.revalidate_and_lock()
        package = Package.objects.held().present().named(namespace_name, name).first()
        allowed = rights.rights_of(package, principal.user) if package else None
        if package is None or allowed is None or not allowed.may_read:
            return False
        if not allowed.may_remove:
            raise PermissionDenied(f"You may not remove {package}.")
        return purge.set_removed(package, removed=True, actor=principal.user)


def transfer_package(package: Package, namespace: Namespace, *, actor: User) -> None:
    """Give a package to another namespace.

    Raises `Conflict` when it has one of this name, `NotFound` if one is gone.
    """
    with transaction.atomic():
        namespace = membership.lock_for_update(namespace)
        package = lock_for_update(package)
        former, package.namespace = str(package), namespace
        search.update_search_fields(package)
        try:
            with transaction.atomic():
                package.save(update_fields=["namespace", "search_name", "search_text"])
        except IntegrityError as error:
            raise _taken(namespace, package.name) from error
        audit.record(actor, "package.transfer", str(package), former=former)


def lock_for_update(package: Package) -> Package:
    """Inside a transaction: the package as it is now, for nobody else to change; raises `NotFound` if it is gone."""
    now = Package.objects.held().present().filter(pk=package.pk).first()
    if now is None:
        raise lookup.no_such(package.namespace.name, package.name)
    return now


def update_derived_fields(package: Package, release: Release) -> None:
    """Derive from the releases what the package's row says of them, after `release` was added or changed."""
    newest = package.newest
    if newest is None or versions.parse(release.version) >= versions.parse(newest.version):
        package.newest = release
    package.updated_at = timezone.now()
    search.update_search_fields(package)
    package.save()


def _publish(package: Package, version: str, draft: ReleaseInput, stored: _Stored, user: User) -> Release:
    release = package.releases.filter(precedence=versions.without_build(version)).first()
    if release is None:
        release = _release(package, version, draft, stored, user)
    elif release.is_final:
        _require_the_same(release, version, draft, stored)
        return release
    else:
        _replace(release, version, draft, stored, user)
    _set_type(package, draft)
    update_derived_fields(package, release)
    audit.record(user, "package.publish", str(release), status=release.status, sha256=stored.sha256)
    return release


def _release(package: Package, version: str, draft: ReleaseInput, stored: _Stored, user: User) -> Release:
    newest = package.newest
    status = Status(draft.status or Status.SNAPSHOT)
    return Release.objects.create(
        package=package,
        version=version,
        precedence=versions.without_build(version),
        status=status,
        is_final=status is Status.RELEASE,
        dependencies=list(draft.dependencies or []),
        dev_dependencies=list(draft.dev_dependencies or []),
        description=_kept(draft.description, newest and newest.description, ""),
        keywords=list(_kept(draft.keywords, newest and newest.keywords, [])),
        sha256=stored.sha256,
        size=stored.size,
        files=stored.files,
        publisher=user,
    )


def _replace(release: Release, version: str, draft: ReleaseInput, stored: _Stored, user: User) -> None:
    """Another state of a snapshot; the one before is kept in its history."""
    remember(release, user)
    release.version = version
    release.status = Status(draft.status or Status.SNAPSHOT)
    release.is_final = release.status == Status.RELEASE
    release.dependencies = list(draft.dependencies or [])
    release.dev_dependencies = list(draft.dev_dependencies or [])
    release.description = _kept(draft.description, release.description, "")
    release.keywords = list(_kept(draft.keywords, release.keywords, []))
    release.sha256, release.size, release.files = stored.sha256, stored.size, stored.files
    release.publisher, release.published_at = user, timezone.now()
    release.save()


def remember(release: Release, user: User) -> None:
    """Keep what a snapshot is before it becomes something else."""
    content = {name.name: getattr(release, name.name) for name in ReleaseContent._meta.fields}
    SnapshotRevision.objects.create(release=release, replaced_by=user, **content)


def _require_the_same(release: Release, version: str, draft: ReleaseInput, stored: _Stored) -> None:
    published = (release.version, release.sha256, release.dependencies, release.dev_dependencies)
    given = (version, stored.sha256, list(draft.dependencies or []), list(draft.dev_dependencies or []))
    said = {
        "status": (draft.status, (Status.RELEASE, release.status)),
        "type": (draft.type, (release.package.type,)),
        "description": (draft.description, (release.description,)),
        "keywords": (draft.keywords, (release.keywords,)),
    }
    differs = [name for name, (value, promised) in said.items() if value is not None and value not in promised]
    if published != given or differs:
        raise Conflict(
            f"{release} is released and never changes again; publish under a new version.", code="version_released"
        )


def _edit(release: Release, draft: ReleaseInput, user: User) -> None:
    content = {
        name: _kept(getattr(draft, name), getattr(release, name), None)
        for name in ("dependencies", "dev_dependencies", "description", "keywords")
    }
    status = Status(draft.status or release.status)
    as_promised = all(value == getattr(release, name) for name, value in content.items())
    if release.is_final and (not as_promised or status is Status.SNAPSHOT):
        raise Conflict(f"{release} is released; only its status may change, to DEPRECATED.", code="version_released")
    if not release.is_final:
        remember(release, user)
    for name, value in content.items():
        setattr(release, name, value)
    release.status = status
    release.is_final = release.is_final or status is Status.RELEASE
    release.save()


def _set_type(package: Package, draft: ReleaseInput) -> None:
    package.type = draft.type or package.type


def _kept(given: Any, before: Any, default: Any) -> Any:
    return next((value for value in (given, before) if value is not None), default)


def _insert(namespace: Namespace, name: str, ecosystem: str, kind: Type) -> Package:
    try:
        with transaction.atomic():
            return Package.objects.create(
                namespace=namespace, name=name, canonical_name=names.canonical(name), field=ecosystem, type=kind
            )
    except IntegrityError as error:
        raise _taken(namespace, name) from error


def _taken(namespace: Namespace, name: str) -> Conflict:
    return Conflict(f"{namespace} has a package {name!r} already, perhaps in the trash.", code="name_taken")


def _store(archive: Upload | None) -> _Stored:
    """Look into an archive, then make it durable; a crash from here on leaves a blob that nothing refers to."""
    if archive is None:
        return _Stored()
    if archive.size > settings.MAX_PACKAGE_SIZE:
        raise TooLarge(f"The archive has {archive.size} bytes; at most {settings.MAX_PACKAGE_SIZE} are taken here.")
    files = archives.list_files(archive.file, archive.size)
    blob = blobs.put(archive.file)
    return _Stored(blob.sha256, blob.size, files)


def _namespace(name: str, among: NamespaceQuerySet) -> Namespace:
    """To create a package in: the document has a missing one as a bad parameter."""
    namespace = among.present().named(name).first()
    if namespace is None:
        raise Invalid(f"There is no namespace {name[:80]!r}.", code="namespace_missing")
    return namespace


def _require_creator(namespace: Namespace, user: User) -> None:
    if not rights.may_create(namespace, user):
        raise PermissionDenied(f"You may not create packages in {namespace}.")


def _require_publisher(package: Package, user: User) -> None:
    if not rights.rights_of(package, user).may_publish:
        raise PermissionDenied(f"You may not publish {package}.")

"""The life of a package: create it, publish versions, edit, transfer, remove and restore it.

A verb checks rights twice. The first check, without a lock, refuses early, before an archive is read and stored. The
second one, in the transaction that holds the locks, decides.
"""

from collections.abc import Sequence
from datetime import timedelta

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.models import User
from accounts.principals import Principal
from accounts.scopes import Scope
from namespaces import membership
from namespaces.models import Namespace, NamespaceQuerySet, Role
from packages import archives, lookup, names, release_input, rights, search, texts, versions
from packages.archives import StoredArchive
from packages.models import LISTING_COLUMNS, Collaboration, Package, PackageDownloads, Release, Status, Type
from packages.release_input import ReleaseEdit, ReleaseInput
from registry_site import audit
from registry_site.errors import Conflict, Invalid, PermissionDenied
from registry_site.models import AuditEvent
from registry_site.rate_limits import RateLimit
from registry_site.storage import stored_blobs

CHANGES = (audit.Action.PACKAGE_CREATE, audit.Action.PACKAGE_PUBLISH, audit.Action.PACKAGE_EDIT)


def create_package(
    principal: Principal, namespace_name: str, name: str, ecosystem: str, content: ReleaseInput
) -> Release:
    """Create a package with its first release; the principal becomes its owner.

    Raises `Invalid`, also for an unknown namespace, `Conflict` for a name that is taken, `PermissionDenied`,
    `TooLarge`, `TooManyRequests` and `Unavailable`.
    """
    principal.require(Scope.PUBLISH_NEW)
    _check_rate(principal.user)
    name = texts.normalize(name)
    release_input.validate_ecosystem(ecosystem)
    names.validate(name, ecosystem)
    release_input.validate_release(content, ecosystem)
    _get_namespace_for_creator(principal.user, namespace_name, Namespace.objects.all())
    archive = archives.store(content.archive)
    with transaction.atomic():
        principal.revalidate_and_lock()
        locked = Namespace.objects.for_update()
        namespace = _get_namespace_for_creator(principal.user, namespace_name, locked)
        package = Package(namespace=namespace, **names.columns(name), field=ecosystem, type=content.type or Type.PUBLIC)
        try:
            with transaction.atomic():
                package.save()
        except IntegrityError as error:
            raise name_taken(namespace, name) from error
        PackageDownloads.objects.create(package=package)
        Collaboration.objects.create(package=package, user=principal.user, role=Role.OWNER, added_by=principal.user)
        release = Release(package=package)
        _save_release(release, release, content, archive, principal.user)
        update_derived_fields(package, release)
        audit.record(principal.user, audit.Action.PACKAGE_CREATE, package, version=release.version, type=package.type)
    return release


def publish_release(
    principal: Principal, namespace_name: str, name: str, content: ReleaseInput, package_id: int | None = None
) -> Release:
    """Publish another version, or replace a snapshot.

    A version that was a RELEASE never changes: the same content again is a success without effect.
    Raises `Invalid`, also for a package that does not exist or that the principal may not read, `Conflict` for other
    content of a released version, `PermissionDenied`, `TooLarge`, `TooManyRequests` and `Unavailable`.
    """
    principal.require(Scope.PUBLISH_UPDATE)
    _check_rate(principal.user)
    package = _get_package_for_publisher(principal.user, namespace_name, name, package_id)
    release_input.validate_release(content, package.field)
    archive = archives.store(content.archive)
    with transaction.atomic():
        principal.revalidate_and_lock()
        package = _get_package_for_publisher(principal.user, namespace_name, name, package.pk, for_update=True)
        # Build metadata does not tell versions of SemVer apart: 1.0.0+a and 1.0.0+b are one release.
        number = versions.canonical(content.version, package.field)
        release = package.releases.defer("files").filter(canonical_version=number).first()
        if release is None:
            release = Release(package=package)
            _save_release(release, package.newest or release, content, archive, principal.user)
        elif release.is_final:
            _require_same_content(release, content, archive)
            return release
        else:
            former = release.content()
            _save_release(release, release, content, archive, principal.user)
            release.archive_revision(former, replaced_by=principal.user)
        package.type = content.type or package.type
        update_derived_fields(package, release)
        audit.record(
            principal.user, audit.Action.PACKAGE_PUBLISH, release, status=release.status, sha256=archive.sha256
        )
    return release


def edit_package(
    principal: Principal,
    namespace_name: str,
    name: str,
    edit: ReleaseEdit,
    package_id: int | None = None,
    *,
    expected_release: int | None = None,
) -> Release:
    """Change the content of the newest release, or the type of the package.

    `expected_release` is the primary key of the release that the principal has seen as the newest one.

    Raises `NotFound`, `PermissionDenied`, `Invalid`, `TooManyRequests`, and `Conflict` for content that a RELEASE has
    fixed.
    """
    principal.require(Scope.PUBLISH_UPDATE)
    _check_rate(principal.user)
    package = lookup.get_package(principal.user, namespace_name, name)
    _require_publisher(package, principal.user, package_id)
    release_input.validate_edit(edit, package.field, statuses=tuple(Status))
    with transaction.atomic():
        principal.revalidate_and_lock()
        package = lookup.get_package(principal.user, namespace_name, name, for_update=True)
        _require_publisher(package, principal.user, package.pk)
        release = package.newest
        if release is None:
            raise Invalid("The package has no release to edit.")
        if expected_release not in (None, release.pk):
            raise Conflict(f"{release} was published meanwhile: load this page again first.", code="version_published")
        fields = ("dependencies", "dev_dependencies", "description", "keywords")
        changes = {field: value for field in fields if (value := getattr(edit, field)) is not None}
        status = Status(edit.status or release.status)
        former = release.content()
        if release.is_final and (
            status is Status.SNAPSHOT or any(value != former[field] for field, value in changes.items())
        ):
            raise Conflict(
                f"{release} is released; only its status may change, to DEPRECATED.", code="version_released"
            )
        for field, value in changes.items():
            setattr(release, field, value)
        release.status = status
        if not release.is_final:
            release.archive_revision(former, replaced_by=principal.user)
        release.is_final = release.is_final or status is Status.RELEASE
        release.save(update_fields=[*changes, "status", "is_final"])
        package.type = edit.type or package.type
        update_derived_fields(package, release)
        audit.record(principal.user, audit.Action.PACKAGE_EDIT, release, status=release.status, type=package.type)
    return release


def transfer_package(package: Package, namespace: Namespace, *, actor: User) -> bool:
    """Move a package to another namespace; return False if it is there already.

    Raises `Conflict` if that one has a package of this name, and `NotFound` if either was removed.
    """
    with transaction.atomic():
        # First the namespace, then the package, as everywhere, so that two transactions cannot block each other.
        namespace = membership.lock_for_update(namespace)
        package = lookup.lock_for_update(package)
        if package.namespace_id == namespace.pk:
            return False
        former_name, former_namespace = str(package), package.namespace_id
        package.namespace = namespace
        search.update_listing(package)
        try:
            with transaction.atomic():
                package.save(update_fields=["namespace", *LISTING_COLUMNS])
        except IntegrityError as error:
            raise name_taken(namespace, package.name) from error
        keys = {"former_namespace": former_namespace, "namespace": namespace.pk}
        audit.record(actor, audit.Action.PACKAGE_TRANSFER, package, former=former_name, **keys)
    return True


def undo_transfer(package: Package, *, events: Sequence[AuditEvent], actor: User) -> bool:
    """Move a package back from where it was moved; raises `Conflict` if it was moved again since.

    Raises `NotFound` if the former namespace or the package was removed, and `Conflict` if the name is taken there.
    """
    moves = [event.detail for event in events if "former_namespace" in event.detail]
    if not moves:
        return False
    with transaction.atomic():
        former = Namespace.objects.filter(pk=moves[-1]["former_namespace"]).first()
        if former is None:
            raise membership.no_such_namespace()
        # First the namespace, then the package, as everywhere.
        membership.lock_for_update(former)
        if lookup.lock_for_update(package).namespace_id != moves[-1]["namespace"]:
            raise Conflict(f"{package} was moved again since.")
        return transfer_package(package, former, actor=actor)


def remove_package(principal: Principal, namespace_name: str, name: str) -> bool:
    """Put a package into the trash; return False if it does not exist or the principal may not read it.

    Raises `PermissionDenied`.
    """
    principal.require(Scope.MANAGE)
    with transaction.atomic():
        principal.revalidate_and_lock()
        package = lookup.find_package(principal.user, namespace_name, name, for_update=True)
        if package is None:
            return False
        if not rights.rights_of(package, principal.user).may_remove:
            raise PermissionDenied(f"You may not remove {package}.")
        return set_removed(package, removed=True, actor=principal.user)


def set_removed(package: Package, *, removed: bool, actor: User | None) -> bool:
    """Put a locked package into the trash, or restore it; return False if there is nothing to change."""
    if (package.removed_at is not None) == removed:
        return False
    package.removed_at = timezone.now() if removed else None
    search.update_listing(package)
    package.save(update_fields=["removed_at", *LISTING_COLUMNS])
    audit.record(actor, audit.Action.PACKAGE_REMOVE if removed else audit.Action.PACKAGE_RESTORE, package)
    return True


def update_derived_fields(package: Package, release: Release) -> None:
    """Update and save what the package's row repeats of its releases, after `release` was added or changed."""
    newest = package.newest
    if newest is None or package.release_order(release) >= package.release_order(newest):
        package.newest = release
    package.updated_at = timezone.now()
    search.update_listing(package)
    package.save()


def name_taken(namespace: Namespace, name: str) -> Conflict:
    """Return the refusal of a name that a package has, or that looks like the name of one."""
    is_same = Package.objects.filter(namespace=namespace, canonical_name=names.canonical(name)).exists()
    likeness = "" if is_same else "whose name looks like "
    return Conflict(f"{namespace} has a package {likeness}{name!r} already, perhaps in the trash.", code="name_taken")


def _check_rate(user: User) -> None:
    """Limit what a user publishes and edits within a few seconds; raises `TooManyRequests`."""
    number = settings.PUBLISH_LIMIT_PER_10_SECONDS
    if number:
        message = f"{user} has made {number} changes within 10 seconds; wait a little."
        limit = RateLimit("package-changes", number, timedelta(seconds=10), message)
        limit.check_rows(AuditEvent.objects.filter(actor=user, action__in=CHANGES))


def _save_release(
    release: Release, previous: Release, content: ReleaseInput, archive: StoredArchive, publisher: User
) -> None:
    """Fill a release; description and keywords that `content` leaves out are those of `previous`."""
    release.version = texts.normalize(content.version)
    release.canonical_version = versions.canonical(content.version, release.package.field)
    release.status = Status(content.status or Status.SNAPSHOT)
    release.is_final = release.status == Status.RELEASE
    release.dependencies = list(content.dependencies or [])
    release.dev_dependencies = list(content.dev_dependencies or [])
    release.description = previous.description if content.description is None else content.description
    release.keywords = list(previous.keywords if content.keywords is None else content.keywords)
    release.sha256, release.size, release.files = archive.sha256, archive.size, archive.files
    release.publisher, release.published_at = publisher, timezone.now()
    if archive.sha256:
        stored_blobs.hold(archive.sha256)
    release.save()


def _require_same_content(release: Release, content: ReleaseInput, archive: StoredArchive) -> None:
    """Raise `Conflict` unless a released version is published again as it is; content left out counts as the same.

    DEPRECATED came later by an edit, so the original RELEASE is the same content, too.
    """
    required = {
        "version": texts.normalize(content.version),
        "sha256": archive.sha256,
        "dependencies": list(content.dependencies or []),
        "dev_dependencies": list(content.dev_dependencies or []),
    }
    optional = {"description": content.description, "keywords": content.keywords}
    required |= {field: value for field, value in optional.items() if value is not None}
    if (
        any(value != getattr(release, field) for field, value in required.items())
        or content.type not in (None, release.package.type)
        or content.status not in (None, Status.RELEASE, release.status)
    ):
        raise Conflict(
            f"{release} is released and never changes again; publish under a new version.", code="version_released"
        )


def _get_namespace_for_creator(user: User, name: str, namespaces: NamespaceQuerySet) -> Namespace:
    """Return a namespace in which `user` may create packages.

    Raises `PermissionDenied`, and `Invalid` for an unknown one: yapkg's document counts it as a bad parameter.
    """
    namespace = namespaces.present().named(name).first()
    if namespace is None:
        raise Invalid(f"There is no namespace {name[:80]!r}.", code="namespace_missing")
    if not rights.may_create(namespace, user):
        raise PermissionDenied(f"You may not create packages in {namespace}.")
    return namespace


def _get_package_for_publisher(
    user: User, namespace_name: str, name: str, package_id: int | None, *, for_update: bool = False
) -> Package:
    """Return a package that `user` may publish.

    Raises `PermissionDenied`, and `Invalid` for an unknown one: yapkg's document counts it as a bad parameter.
    """
    package = lookup.find_package(user, namespace_name, name, for_update=for_update)
    if package is None:
        raise Invalid(f"There is no package {namespace_name[:80]}/{name[:80]}.", code="package_missing")
    _require_publisher(package, user, package_id)
    return package


def _require_publisher(package: Package, user: User, package_id: int | None) -> None:
    if package_id not in (None, package.pk):
        raise Invalid(f"The id of {package} is {package.pk}, not {package_id}.", code="id_differs")
    if not rights.rights_of(package, user).may_publish:
        raise PermissionDenied(f"You may not publish {package}.")

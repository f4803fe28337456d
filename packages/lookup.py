"""Packages and their versions by name. For users without read access they do not exist."""

from collections.abc import Sequence

from django.db.models import QuerySet

from accounts import names as account_names
from accounts.models import User
from packages import names, rights, texts, versions
from packages.models import Package, Release, Type
from registry_site.compiled_queries import compiled
from registry_site.errors import NotFound


def find_package(user: User | None, namespace_name: str, name: str, *, for_update: bool = False) -> Package | None:
    """Return a package, or None if it does not exist or `user` may not read it.

    `for_update` locks its row until the transaction ends.
    """
    package = find_visible(user, namespace_name, name, for_update=for_update)
    if package is None or package.type == Type.PUBLIC:
        return package
    return package if rights.rights_of(package, user).may_read else None


def find_visible(user: User | None, namespace_name: str, name: str, *, for_update: bool = False) -> Package | None:
    """Return a package that the query of visible ones has; `rights` has the last word."""
    packages = Package.objects.for_update() if for_update else Package.objects.with_newest()
    packages = packages.present().named(namespace_name, name)
    # Queries leave out what the user may not read: the work, and so the time, is the same as for a missing package.
    if for_update:
        package = packages.visible_to(None).first()
    else:
        public = public_packages(account_names.canonical(namespace_name), names.canonical(name))
        package = next(iter(public), None)
    if package is None and user is not None:
        package = packages.visible_to(user).first()
    if package is not None and for_update:
        # PostgreSQL joined the namespace before it waited for the lock. It may have been removed in the meantime.
        package.namespace.refresh_from_db(fields=["removed_at"])
    return None if package is None or package.namespace.removed_at is not None else package


@compiled
def public_packages(namespace: str, name: str) -> QuerySet[Package]:
    """Select the public package of names in their canonical forms."""
    return Package.objects.with_newest().present().named(namespace, name).visible_to(None)


def get_package(user: User | None, namespace_name: str, name: str, *, for_update: bool = False) -> Package:
    """Return a package like `find_package`; raises `NotFound`."""
    package = find_package(user, namespace_name, name, for_update=for_update)
    if package is None:
        raise no_such_package(namespace_name, name)
    return package


def get_with_rights(user: User | None, namespace_name: str, name: str) -> tuple[Package, rights.Rights]:
    """Return a package and what `user` may do with it; raises `NotFound` like `get_package`."""
    package = find_visible(user, namespace_name, name)
    if package is not None and (own_rights := rights.rights_of(package, user)).may_read:
        return package, own_rights
    raise no_such_package(namespace_name, name)


def lock_for_update(package: Package) -> Package:
    """Lock a package until the transaction ends and return its current row; raises `NotFound` if it was removed."""
    current = Package.objects.for_update().present().filter(pk=package.pk).first()
    if current is None:
        raise no_such_package(package.namespace.name, package.name)
    return current


def list_releases(user: User | None, namespace_name: str, name: str) -> list[Release]:
    """Return all versions of a package, the newest first; raises `NotFound`."""
    package = get_package(user, namespace_name, name)
    return sorted(listed_releases(package.pk), key=package.release_order, reverse=True)


@compiled
def listed_releases(package: int) -> QuerySet[Release]:
    releases = Release.objects.filter(package=package).select_related("publisher").order_by()
    return releases.defer(*Release.LARGE_COLUMNS, "description")


def sorted_keys(package: Package) -> list[int]:
    """Return the primary keys of all versions of a package, the newest first."""
    rows = list(package.releases.order_by().values_list("version", "published_at", "pk"))
    rows.sort(key=lambda row: package.order_of(*row), reverse=True)
    return [pk for _, _, pk in rows]


def releases_of_keys(package: Package, keys: Sequence[int]) -> list[Release]:
    """Return versions of a package in the order of their primary keys, with publishers and numbers of downloads."""
    releases = Release.objects.select_related("publisher", "downloads").defer(*Release.LARGE_COLUMNS)
    rows = releases.order_by().in_bulk(keys)
    for release in rows.values():
        release.package = package  # saves a query for each
    return [rows[key] for key in keys if key in rows]


def get_release(user: User | None, namespace_name: str, name: str, version: str) -> Release:
    """Return one version by its number, in SemVer with or without build metadata; raises `NotFound`.

    The list of its files is loaded by whoever reads it: downloads do not.
    """
    return release_of(get_package(user, namespace_name, name), version)


def release_of(package: Package, version: str) -> Release:
    """Return one version of a package like `get_release`; raises `NotFound`."""
    number = versions.canonical(version, package.field)
    releases = package.releases.select_related("publisher").defer("files")
    release = releases.filter(canonical_version=number).first()
    # A number with other build metadata than the published one is not this version.
    if release is None or texts.normalize(version) not in (release.version, number):
        raise NotFound(f"{package} has no version {version[:80]!r}.", code="version_missing")
    return release


def no_such_package(namespace_name: str, name: str) -> NotFound:
    return NotFound(f"There is no package {namespace_name[:80]}/{name[:80]}.", code="package_missing")

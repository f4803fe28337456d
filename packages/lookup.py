"""Packages and their versions, for who may read them; to everybody else they do not exist."""

from accounts.models import User
from packages import rights
from packages.models import Package, Release, Type
from registry_site import versions
from registry_site.errors import Invalid, NotFound


def get_package(user: User | None, namespace_name: str, name: str) -> Package:
    """A package with its newest release; raises `NotFound`, for one that `user` may not read, too."""
    packages = Package.objects.present().named(namespace_name, name).with_newest()
    package = packages.first()
    if package is None or not (package.type == Type.PUBLIC or rights.rights_of(package, user).may_read):
        raise no_such(namespace_name, name)
    return package


def list_releases(user: User | None, namespace_name: str, name: str) -> list[Release]:
    """All versions, the highest first; raises `NotFound`."""
    package = get_package(user, namespace_name, name)
    found = list(package.releases.select_related("publisher").defer("files"))
    for release in found:
        release.package = package
    return sorted(found, key=lambda release: versions.parse(release.version), reverse=True)


def get_release(user: User | None, namespace_name: str, name: str, version: str) -> Release:
    """One version, by its number with or without build metadata; raises `NotFound`."""
    package = get_package(user, namespace_name, name)
    number = versions.without_build(version)
    release = package.releases.select_related("publisher").filter(precedence=number).first()
    if release is None or version not in (release.version, number):
        raise NotFound(f"{package} has no version {version[:80]!r}.", code="version_missing")
    release.package = package
    return release


def readable(
    user: User,
    namespace_name: str,
    name: str,
    package_id: int | None,
    missing: Exception,
    *,
    held: bool = False,
) -> Package:
    """The package, held for the transaction if so wanted; raises `missing` when `user` cannot see it, and `Invalid`
    when it is not the one with this id.
    """
    packages = Package.objects.held() if held else Package.objects.select_related("namespace")
    package = packages.present().named(namespace_name, name).first()
    if package is None or not rights.rights_of(package, user).may_read:
        raise missing
    if package_id not in (None, package.pk):
        raise Invalid(f"The id of {package} is {package.pk}, not {package_id}.", code="id_differs")
    return package


def no_such(namespace_name: str, name: str) -> NotFound:
    return NotFound(f"There is no package {namespace_name[:80]}/{name[:80]}.", code="package_missing")

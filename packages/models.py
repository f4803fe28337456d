"""Packages, their releases and their collaborators."""

from datetime import datetime
from typing import Any, ClassVar, Self
from urllib.parse import quote

from django.db import models
from django.db.models import Prefetch, Q
from django.utils import timezone

from accounts import roles
from accounts.models import User
from namespaces.models import Namespace, Role, RoleAssignment, RoleInvitation
from packages import ecosystems, names, versions
from registry_site import semantic_versions
from registry_site.compiled_queries import compiled
from registry_site.models import DownloadsOfDay, DownloadTotal, RecentDownloadTotal


class Type(models.TextChoices):
    """The visibility of a package."""

    PUBLIC = "PUBLIC", "public"
    PRIVATE = "PRIVATE", "private"


class Status(models.TextChoices):
    """The promise of a release to its users."""

    RELEASE = "RELEASE", "release"  # never changes
    SNAPSHOT = "SNAPSHOT", "snapshot"  # may be replaced
    DEPRECATED = "DEPRECATED", "deprecated"  # should not be used any more


# The database derives its search index from these columns of a package.
SEARCH_COLUMNS = ("search_name", "search_text", "search_spelling")
SEARCH_COLUMNS_OF_PACKAGE = tuple(f"package__{column}" for column in SEARCH_COLUMNS)  # of the package of a row
LISTING_COLUMNS = ("is_listed", *SEARCH_COLUMNS)  # which `search.update_listing` sets


class PackageQuerySet(models.QuerySet["Package"]):
    def present(self) -> Self:
        """Leave out packages in the trash, and those of a namespace in the trash."""
        return self.filter(removed_at=None, namespace__removed_at=None)

    def for_update(self) -> Self:
        """Lock the packages until the transaction ends.

        The newest releases are not joined: after a wait for the lock, PostgreSQL would look for the former one, and
        leave `newest` empty if another transaction has published since.
        """
        newest = Prefetch("newest", Release.objects.defer("files"))
        return self.select_for_update(no_key=True, of=("self",)).select_related("namespace").prefetch_related(newest)

    def named(self, namespace: str, name: str) -> Self:
        """Select the package of this name in the namespace of this name, both without regard to case."""
        namespaces = Namespace.objects.named(namespace)
        return self.filter(namespace__in=namespaces, canonical_name=names.canonical(name))

    def listed(self) -> Self:
        """Select the packages that everybody may read."""
        return self.filter(is_listed=True)

    def visible_to(self, user: User | None) -> Self:
        """Select what a user, or an anonymous visitor, may read: the rule of `rights` for many packages at once."""
        if user is None:
            return self.filter(type=Type.PUBLIC)
        if roles.is_administrator(user):
            return self
        managed = Namespace.objects.filter(memberships__user=user, memberships__role__in=(Role.OWNER, Role.MANAGER))
        shared = Collaboration.objects.filter(user=user).values("package")
        # Subqueries instead of joins: a join would list a package once for each role.
        return self.filter(Q(type=Type.PUBLIC) | Q(namespace__in=managed) | Q(pk__in=shared))

    def with_newest(self) -> Self:
        """Fetch in one query all that a list shows, and no large column."""
        large = (*SEARCH_COLUMNS, *(f"newest__{column}" for column in Release.LARGE_COLUMNS))
        return self.select_related("namespace", "newest__publisher").defer(*large)


class Package(models.Model):
    """A package; lists and search show its newest release."""

    namespace = models.ForeignKey(Namespace, on_delete=models.CASCADE, related_name="packages")
    name = models.CharField(max_length=names.MAX_LENGTH)
    canonical_name = models.CharField(max_length=names.MAX_LENGTH, editable=False)
    skeleton = models.CharField(
        max_length=names.MAX_LENGTH, editable=False, help_text="The form that names of the same look share."
    )
    field = models.CharField(
        max_length=63, help_text="The ecosystem, such as java or php. It decides about names and versions, for good."
    )
    type = models.CharField(max_length=8, choices=Type, default=Type.PUBLIC)
    newest = models.ForeignKey(
        "Release",
        null=True,
        editable=False,
        on_delete=models.SET_NULL,
        related_name="+",
        help_text="The release with the highest version by SemVer, or the last one where versions are any texts.",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(default=timezone.now, editable=False)
    removed_at = models.DateTimeField(null=True, blank=True, editable=False)
    is_listed = models.BooleanField(
        default=False, editable=False, help_text="Public, and neither it nor its namespace is in the trash."
    )
    # Empty for packages that are not listed.
    search_name = models.TextField(default="", editable=False)
    search_text = models.TextField(default="", editable=False)
    search_spelling = models.TextField(default="", editable=False)

    objects: ClassVar[PackageQuerySet] = PackageQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ("canonical_name", "pk")
        constraints = [
            models.UniqueConstraint(fields=["namespace", "canonical_name"], name="each_package_once_in_its_namespace"),
            models.UniqueConstraint(fields=["namespace", "skeleton"], name="no_package_looks_like_another"),
            models.CheckConstraint(condition=Q(type__in=Type.values), name="package_has_a_known_type"),
            models.CheckConstraint(
                condition=Q(is_listed=False) | Q(type=Type.PUBLIC, removed_at=None), name="no_private_package_is_listed"
            ),
        ]
        indexes = [
            models.Index(fields=["canonical_name", "id"], condition=Q(is_listed=True), name="listed_packages_by_name"),
            models.Index(fields=["canonical_name"], name="packages_by_name"),
            models.Index(fields=["created_at", "id"], condition=Q(is_listed=True), name="listed_packages_by_creation"),
            models.Index(fields=["updated_at", "id"], condition=Q(is_listed=True), name="listed_packages_by_change"),
            # All that a list of those visible to a user needs.
            models.Index(
                fields=["namespace", "removed_at", "canonical_name", "type"], name="packages_of_namespace_by_name"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def page_path(self) -> str:
        """The path of the page."""
        return f"{self.namespace.page_path}/packages/{quote(self.name, safe='@/')}"

    def release_order(self, release: "Release") -> Any:
        """Return what orders the releases of this package."""
        return self.order_of(release.version, release.published_at, release.pk)

    def order_of(self, version: str, published_at: datetime, pk: int) -> Any:
        """Return what orders releases by their columns: the version by SemVer, or the time of the release."""
        if ecosystems.follows_semver(self.field):
            return semantic_versions.order_of(semantic_versions.without_build(version))
        return published_at, pk

    def newest_release(self) -> "Release":
        """Return the newest release with its dependencies, and with this package as its `package`."""
        assert self.newest is not None  # noqa: S101 - a package is created with its first release
        # Lists leave them out.
        [(self.newest.dependencies, self.newest.dev_dependencies)] = dependencies_of(self.newest.pk)
        self.newest.package = self  # saves a query
        return self.newest


@compiled
def dependencies_of(release: int) -> models.QuerySet["Release", tuple[Any, Any]]:
    return Release.objects.filter(pk=release).values_list("dependencies", "dev_dependencies")


class ReleaseContent(models.Model):
    """The published content of a version."""

    status = models.CharField(max_length=16, choices=Status, default=Status.SNAPSHOT)
    dependencies = models.JSONField(default=list, blank=True)
    dev_dependencies = models.JSONField(default=list, blank=True)
    description = models.CharField(max_length=1000, blank=True)
    keywords = models.JSONField(default=list, blank=True)
    sha256 = models.CharField(
        "SHA-256", max_length=64, blank=True, help_text="Digest of the archive; empty without one."
    )
    size = models.BigIntegerField(default=0, help_text="Size of the archive in bytes.")
    files = models.JSONField(default=list, blank=True, help_text="Path and size of each file in the archive.")
    publisher = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    published_at = models.DateTimeField(default=timezone.now)

    class Meta:
        abstract = True


LARGE_FIELDS = ("dependencies", "dev_dependencies", "description", "keywords", "files")


class Release(ReleaseContent):
    """A version of a package. A RELEASE never changes again; a SNAPSHOT may be replaced."""

    # Megabytes in the worst case. Lists leave them out, or one request would load them for many releases.
    LARGE_COLUMNS = ("files", "dependencies", "dev_dependencies")

    package = models.ForeignKey(Package, on_delete=models.CASCADE, related_name="releases")
    version = models.CharField(max_length=versions.MAX_LENGTH)
    canonical_version = models.CharField(
        max_length=versions.MAX_LENGTH,
        editable=False,
        help_text="The form in which the version is unique: with SemVer without build metadata.",
    )
    is_final = models.BooleanField(
        default=False, editable=False, help_text="Set once the version was a RELEASE, and for ever."
    )

    class Meta:
        ordering = ("-published_at", "-pk")
        constraints = [
            models.UniqueConstraint(fields=["package", "canonical_version"], name="each_version_once_in_its_package"),
            models.CheckConstraint(condition=Q(status__in=Status.values), name="release_has_a_known_status"),
        ]
        indexes = [models.Index(fields=["sha256"], name="releases_by_archive")]

    def __str__(self) -> str:
        return f"{self.package} {self.version}"

    @property
    def page_path(self) -> str:
        """The path of the page."""
        return f"{self.package.page_path}/versions/{quote(self.version, safe=':')}"

    def content(self) -> dict[str, Any]:
        """Return the published content by its fields."""
        return {field.name: getattr(self, field.name) for field in ReleaseContent._meta.fields}

    def archive_revision(self, former: dict[str, Any], *, replaced_by: User) -> None:
        """Keep what a change of a snapshot replaced of its `former` content; nothing if it replaced nothing.

        A small edit must not store the whole release again: large fields that stayed the same are left out.
        """
        changed = [field for field, value in self.content().items() if value != former[field]]
        if changed:
            kept = {field: value for field, value in former.items() if field in changed or field not in LARGE_FIELDS}
            SnapshotRevision.objects.create(release=self, replaced_by=replaced_by, changed_fields=changed, **kept)


class SnapshotRevision(ReleaseContent):
    """The former content of a snapshot that was replaced, without the large fields that stayed the same."""

    changed_fields = models.JSONField(
        null=True, help_text="The fields that were replaced. Empty for older rows, which hold all fields."
    )
    release = models.ForeignKey(Release, on_delete=models.CASCADE, related_name="revisions")
    replaced_at = models.DateTimeField(default=timezone.now)
    replaced_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")

    class Meta:
        ordering = ("-replaced_at", "-pk")
        indexes = [models.Index(fields=["sha256"], name="revisions_by_archive")]
        verbose_name_plural = "snapshot revisions"

    def __str__(self) -> str:
        return f"{self.release} of {self.published_at:%Y-%m-%d %H:%M}"


class Collaboration(RoleAssignment):
    """A collaborator of a package, with or without a role in its namespace."""

    subject_field = "package"
    noun = "collaborator"

    package = models.ForeignKey(Package, on_delete=models.CASCADE, related_name="collaborations")

    class Meta(RoleAssignment.Meta):
        verbose_name = "collaborator of a package"
        verbose_name_plural = "collaborators of packages"
        constraints = [
            models.UniqueConstraint(fields=["package", "user"], name="each_collaborator_once"),
            models.CheckConstraint(condition=Q(role__in=Role.values), name="collaborator_has_a_known_role"),
        ]

    def __str__(self) -> str:
        return f"{self.user} at {self.package}"


class CollaboratorInvitation(RoleInvitation):
    """An invitation to become a collaborator of a package."""

    subject_field = "package"

    package = models.ForeignKey(
        Package, on_delete=models.CASCADE, related_name="invitations", db_index=False
    )  # the constraint has an index that begins with it

    class Meta(RoleInvitation.Meta):
        constraints = [
            models.UniqueConstraint(fields=["package", "user"], name="each_invited_collaborator_once"),
            models.CheckConstraint(condition=Q(role__in=Role.values), name="invited_collaborator_has_a_known_role"),
        ]

    def __str__(self) -> str:
        return f"{self.user} to {self.package}"


class DailyDownloads(DownloadsOfDay):
    """Downloads of a release on a day."""

    KEY = ("release", "day")

    release = models.ForeignKey(Release, on_delete=models.CASCADE, related_name="daily_downloads", db_index=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["release", "day"], name="downloads_of_release_and_day")]

    def __str__(self) -> str:
        return f"{self.release} on {self.day}"


class ReleaseDownloads(DownloadTotal):
    """All downloads of a release."""

    KEY = ("release",)

    release = models.OneToOneField(Release, primary_key=True, on_delete=models.CASCADE, related_name="downloads")

    def __str__(self) -> str:
        return f"{self.release}: {self.total}"


class PackageDownloads(RecentDownloadTotal):
    """Downloads of a package; each has such a row from its first release on."""

    KEY = ("package",)

    package = models.OneToOneField(Package, primary_key=True, on_delete=models.CASCADE, related_name="downloads")

    class Meta:
        indexes = [
            models.Index(fields=["-total", "package"], name="packages_by_downloads"),
            models.Index(fields=["-recent", "package"], name="packages_by_recent_downloads"),
        ]

    def __str__(self) -> str:
        return f"{self.package}: {self.total}"

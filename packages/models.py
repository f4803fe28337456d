"""Packages, their releases and their collaborators."""

from typing import ClassVar, Self

from django.db import models
from django.db.models import Q
from django.utils import timezone

from accounts import roles
from accounts.models import User
from namespaces.models import Namespace, Role, RoleAssignment
from packages import names


class Type(models.TextChoices):
    """Who may see a package."""

    PUBLIC = "PUBLIC", "public"
    PRIVATE = "PRIVATE", "private"


class Status(models.TextChoices):
    """What a release promises."""

    RELEASE = "RELEASE", "release"  # never changes
    SNAPSHOT = "SNAPSHOT", "snapshot"  # may be replaced
    DEPRECATED = "DEPRECATED", "deprecated"  # should not be used any more


class PackageQuerySet(models.QuerySet["Package"]):
    def present(self) -> Self:
        """Those that were not removed, and whose namespace was not."""
        return self.filter(removed_at=None, namespace__removed_at=None)

    def held(self) -> Self:
        """Inside a transaction: as they are now, and nobody else changes anything of them until its end."""
        return self.select_for_update(no_key=True, of=("self",)).select_related("namespace")

    def named(self, namespace: str, name: str) -> Self:
        """The one of this name in the namespace of that name, both in any case."""
        namespaces = Namespace.objects.named(namespace)
        return self.filter(namespace__in=namespaces, canonical_name=names.canonical(name))

    def visible_to(self, user: User | None) -> Self:
        """What `user`, or somebody unknown, may read: the rule of `rights`, for many at once."""
        if user is None:
            return self.filter(type=Type.PUBLIC)
        if roles.is_administrator(user):
            return self
        managed = Namespace.objects.filter(memberships__user=user, memberships__role__in=(Role.OWNER, Role.MANAGER))
        shared = Collaboration.objects.filter(user=user).values("package")
        return self.filter(Q(type=Type.PUBLIC) | Q(namespace__in=managed) | Q(pk__in=shared))

    def with_newest(self) -> Self:
        """All that a list shows, in the same query."""
        return self.select_related("namespace", "newest__publisher")


class Package(models.Model):
    """A package; its newest release says what lists and search show of it."""

    namespace = models.ForeignKey(Namespace, on_delete=models.CASCADE, related_name="packages")
    name = models.CharField(max_length=names.LONGEST)
    canonical_name = models.CharField(max_length=names.LONGEST, editable=False)
    field = models.CharField(max_length=63, help_text="The ecosystem, such as java or php.")
    type = models.CharField(max_length=8, choices=Type, default=Type.PUBLIC)
    newest = models.ForeignKey(
        "Release", null=True, editable=False, on_delete=models.SET_NULL, related_name="+", help_text="By precedence."
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(default=timezone.now, editable=False)
    removed_at = models.DateTimeField(null=True, blank=True, editable=False)
    # Empty for what is not to be found; the database derives its index from these two.
    search_name = models.TextField(default="", editable=False)
    search_text = models.TextField(default="", editable=False)

    objects: ClassVar[PackageQuerySet] = PackageQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ("canonical_name", "pk")
        constraints = [
            models.UniqueConstraint(fields=["namespace", "canonical_name"], name="each_package_once_in_its_namespace"),
            models.CheckConstraint(condition=Q(type__in=Type.values), name="package_has_a_known_type"),
        ]
        indexes = [models.Index(fields=["canonical_name", "id"], name="packages_by_name")]

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    def newest_release(self) -> "Release":
        """The newest one, which knows this package, too; there is always one."""
        assert self.newest is not None  # noqa: S101 - made with the package
        self.newest.package = self
        return self.newest


class ReleaseContent(models.Model):
    """What was published under a version."""

    status = models.CharField(max_length=16, choices=Status, default=Status.SNAPSHOT)
    dependencies = models.JSONField(default=list, blank=True)
    dev_dependencies = models.JSONField(default=list, blank=True)
    description = models.CharField(max_length=1000, blank=True)
    keywords = models.JSONField(default=list, blank=True)
    sha256 = models.CharField("SHA-256", max_length=64, blank=True, help_text="Of the archive; empty without one.")
    size = models.BigIntegerField(default=0, help_text="Of the archive, in bytes.")
    files = models.JSONField(default=list, blank=True, help_text="Path and size of each file in the archive.")
    publisher = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    published_at = models.DateTimeField(default=timezone.now)

    class Meta:
        abstract = True


class Release(ReleaseContent):
    """A version of a package. As a RELEASE it never changes again; a SNAPSHOT may be replaced."""

    package = models.ForeignKey(Package, on_delete=models.CASCADE, related_name="releases")
    version = models.CharField(max_length=127)
    precedence = models.CharField(max_length=127, editable=False, help_text="The version without build metadata.")
    is_final = models.BooleanField(default=False, editable=False, help_text="Has been a RELEASE.")

    class Meta:
        ordering = ("-published_at", "-pk")
        constraints = [
            models.UniqueConstraint(fields=["package", "precedence"], name="each_version_once_in_its_package"),
            models.CheckConstraint(condition=Q(status__in=Status.values), name="release_has_a_known_status"),
        ]

    def __str__(self) -> str:
        return f"{self.package} {self.version}"


class SnapshotRevision(ReleaseContent):
    """What a snapshot was before it was replaced."""

    release = models.ForeignKey(Release, on_delete=models.CASCADE, related_name="revisions")
    replaced_at = models.DateTimeField(default=timezone.now)
    replaced_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")

    class Meta:
        ordering = ("-replaced_at", "-pk")
        verbose_name_plural = "snapshot revisions"

    def __str__(self) -> str:
        return f"{self.release} of {self.published_at:%Y-%m-%d %H:%M}"


class Collaboration(RoleAssignment):
    """Somebody works on a package, whatever they are in its namespace."""

    package = models.ForeignKey(Package, on_delete=models.CASCADE, related_name="collaborations")

    class Meta(RoleAssignment.Meta):
        constraints = [
            models.UniqueConstraint(fields=["package", "user"], name="each_collaborator_once"),
            models.CheckConstraint(condition=Q(role__in=Role.values), name="collaborator_has_a_known_role"),
        ]

    def __str__(self) -> str:
        return f"{self.user} at {self.package}"

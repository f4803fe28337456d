"""Namespaces and their members."""

from typing import ClassVar, Self

from django.db import models
from django.db.models import Q
from django.utils import timezone

from accounts import names
from accounts.models import NameReservation, User


class Role(models.TextChoices):
    """What a member of a namespace or a collaborator of a package is, from the highest to the lowest."""

    OWNER = "OWNER", "owner"
    MANAGER = "MANAGER", "manager"
    MEMBER = "MEMBER", "member"
    READ_ONLY = "READ_ONLY", "read only"

    @property
    def rank(self) -> int:
        """The higher, the more."""
        return -list(Role).index(self)


class NamespaceQuerySet(models.QuerySet["Namespace"]):
    def named(self, name: str) -> Self:
        """The one of this name, in any case."""
        return self.filter(reservation__name=names.canonical(name))

    def present(self) -> Self:
        """Those that were not removed."""
        return self.filter(removed_at=None)

    def shared(self) -> Self:
        """Those that are nobody's own."""
        return self.filter(user=None)


class Namespace(models.Model):
    """Holds packages. Everybody has a personal one of their own name; the others have members."""

    name = models.CharField(max_length=255)
    reservation = models.OneToOneField(
        NameReservation, on_delete=models.PROTECT, related_name="namespace", editable=False
    )
    user = models.OneToOneField(
        User,
        null=True,
        blank=True,
        editable=False,
        on_delete=models.CASCADE,
        related_name="namespace",
        help_text="Whose personal namespace it is, if anybody's.",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    removed_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects: ClassVar[NamespaceQuerySet] = NamespaceQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class RoleAssignment(models.Model):
    """Somebody has a role somewhere."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="%(class)ss")
    role = models.CharField(max_length=16, choices=Role, default=Role.MEMBER)
    added_by = models.ForeignKey(
        User, null=True, blank=True, editable=False, on_delete=models.SET_NULL, related_name="+"
    )
    added_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        abstract = True
        ordering = ("pk",)


class Membership(RoleAssignment):
    """Somebody belongs to a namespace."""

    namespace = models.ForeignKey(Namespace, on_delete=models.CASCADE, related_name="memberships")

    class Meta(RoleAssignment.Meta):
        constraints = [
            models.UniqueConstraint(fields=["namespace", "user"], name="each_member_once"),
            models.CheckConstraint(condition=Q(role__in=Role.values), name="member_has_a_known_role"),
        ]

    def __str__(self) -> str:
        return f"{self.user} in {self.namespace}"

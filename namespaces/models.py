"""Namespaces, their members, and the bases of all roles and invitations to them."""

from typing import ClassVar, Self
from urllib.parse import quote

from django.db import models
from django.db.models import Q
from django.utils import timezone

from accounts import names
from accounts.models import NameReservation, User


class Role(models.TextChoices):
    """Roles of members and collaborators, from the highest to the lowest."""

    OWNER = "OWNER", "owner"
    MANAGER = "MANAGER", "manager"
    MEMBER = "MEMBER", "member"
    READ_ONLY = "READ_ONLY", "read only"

    @property
    def rank(self) -> int:
        """Return a number that grows with the role."""
        return -list(Role).index(self)


class NamespaceQuerySet(models.QuerySet["Namespace"]):
    def named(self, name: str) -> Self:
        """Select the namespace of this name, without regard to case."""
        return self.filter(reservation__name=names.canonical(name))

    def present(self) -> Self:
        """Leave out namespaces in the trash."""
        return self.filter(removed_at=None)

    def shared(self) -> Self:
        """Leave out personal namespaces."""
        return self.filter(user=None)

    def for_update(self) -> Self:
        """Lock the namespaces until the transaction ends."""
        # NO KEY UPDATE instead of UPDATE: others may still insert rows that refer to a namespace.
        return self.select_for_update(no_key=True)


class Namespace(models.Model):
    """A name under which packages live. Each user has a personal one; shared ones have members."""

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
        help_text="The user of a personal namespace; empty for a shared one.",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    removed_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects: ClassVar[NamespaceQuerySet] = NamespaceQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    @property
    def page_path(self) -> str:
        """The path of the page."""
        return f"/namespaces/{quote(self.name)}"


class RoleInSubject(models.Model):
    """The role of a user in a namespace or a package, which is called its subject."""

    subject_field: ClassVar[str]  # the foreign key to the subject, and its name in the audit log

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="%(class)ss")
    role = models.CharField(max_length=16, choices=Role, default=Role.MEMBER)

    class Meta:
        abstract = True
        ordering = ("pk",)

    @classmethod
    def in_subject(cls, subject: models.Model) -> models.QuerySet[Self]:
        """Select all rows of one subject, with their users."""
        return cls._default_manager.filter(**{cls.subject_field: subject}).select_related("user")

    @property
    def subject(self) -> models.Model:
        subject: models.Model = getattr(self, self.subject_field)
        return subject


class RoleAssignment(RoleInSubject):
    """A role that a user has. `namespaces.role_assignments` holds the rules that all kinds share."""

    noun: ClassVar[str]  # the word for the user in messages, error codes and the audit log

    added_by = models.ForeignKey(
        User, null=True, blank=True, editable=False, on_delete=models.SET_NULL, related_name="+"
    )
    added_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta(RoleInSubject.Meta):
        abstract = True


class RoleInvitation(RoleInSubject):
    """A role that a user is offered. `namespaces.invitations` holds the rules that all kinds share.

    A user has one row in a subject at most. It goes when the invitation is accepted or withdrawn, and stays for a while
    when it is declined.
    """

    inviter = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    invited_at = models.DateTimeField(default=timezone.now)
    ends_at = models.DateTimeField()
    declined_at = models.DateTimeField(null=True)

    class Meta(RoleInSubject.Meta):
        abstract = True

    @classmethod
    def open_ones(cls) -> models.QuerySet[Self]:
        """Select the invitations that can be accepted."""
        return cls._default_manager.filter(declined_at=None, ends_at__gt=timezone.now())


class Membership(RoleAssignment):
    """A member of a namespace, and the role that the member has there."""

    subject_field = "namespace"
    noun = "member"

    namespace = models.ForeignKey(Namespace, on_delete=models.CASCADE, related_name="memberships")

    class Meta(RoleAssignment.Meta):
        verbose_name = "member of a namespace"
        verbose_name_plural = "members of namespaces"
        constraints = [
            models.UniqueConstraint(fields=["namespace", "user"], name="each_member_once"),
            models.CheckConstraint(condition=Q(role__in=Role.values), name="member_has_a_known_role"),
        ]

    def __str__(self) -> str:
        return f"{self.user} in {self.namespace}"


class MemberInvitation(RoleInvitation):
    """An invitation to become a member of a namespace."""

    subject_field = "namespace"

    namespace = models.ForeignKey(
        Namespace, on_delete=models.CASCADE, related_name="invitations", db_index=False
    )  # the constraint has an index that begins with it

    class Meta(RoleInvitation.Meta):
        constraints = [
            models.UniqueConstraint(fields=["namespace", "user"], name="each_invited_member_once"),
            models.CheckConstraint(condition=Q(role__in=Role.values), name="invited_member_has_a_known_role"),
        ]

    def __str__(self) -> str:
        return f"{self.user} to {self.namespace}"

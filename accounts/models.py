"""Users, what proves them, what stops them."""

from datetime import datetime
from typing import Any, ClassVar, Self, cast

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import PermissionsMixin
from django.db import models, transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from accounts import names


class NameReservation(models.Model):
    """One name space for users and namespaces: whoever inserts the row has the name."""

    name = models.CharField(max_length=255, unique=True, help_text="In canonical form.")

    def __str__(self) -> str:
        return self.name


class UserQuerySet(models.QuerySet["User"]):
    def with_standing(self) -> Self:
        """Annotates `is_banned`."""
        return self.annotate(is_banned=Exists(Ban.objects.in_force().filter(user=OuterRef("pk"))))

    def in_good_standing(self) -> Self:
        return self.filter(is_active=True).exclude(pk__in=Ban.objects.in_force().values("user"))

    def named(self, *logins: str) -> Self:
        """Those with one of these names, in any case, bare or with Ktra's prefix."""
        return self.filter(reservation__name__in=[names.canonical(names.from_login(login)) for login in logins])


class UserManager(BaseUserManager.from_queryset(UserQuerySet)["User"]):  # type: ignore[misc]
    def create_user(self, username: str, email: str = "", password: str | None = None, **fields: Any) -> "User":
        """As Django calls it; the hash is made before the transaction, which others wait for."""
        return self.open(username, email, make_password(password), **fields)

    @transaction.atomic
    def open(self, username: str, email: str, encoded_password: str, **fields: Any) -> "User":
        """Reserve the name and insert the user; raises `IntegrityError` when the name is taken."""
        reservation = NameReservation.objects.create(name=names.canonical(username))
        user: User = self.create(
            username=username,
            email=self.normalize_email(email),
            password=encoded_password,
            reservation=reservation,
            **fields,
        )
        return user

    def create_superuser(self, username: str, email: str = "", password: str | None = None, **fields: Any) -> "User":
        return self.create_user(username, email, password, **{**fields, "is_staff": True, "is_superuser": True})

    def get_by_natural_key(self, username: str | None) -> "User":
        return cast("User", self.named(username or "").get())


class User(AbstractBaseUser, PermissionsMixin):
    """A person or a machine with one account, whatever door it comes through."""

    username = models.CharField(max_length=255, unique=True)
    reservation = models.OneToOneField(NameReservation, on_delete=models.PROTECT, related_name="user", editable=False)
    email = models.EmailField(blank=True)
    is_active = models.BooleanField(
        "active", default=True, help_text="Untick instead of deleting: what the account published stays attributed."
    )
    is_staff = models.BooleanField("staff", default=False, help_text="May sign in to this admin site.")
    date_joined = models.DateTimeField(default=timezone.now, editable=False)

    objects: ClassVar[UserManager] = UserManager()

    EMAIL_FIELD = "email"
    USERNAME_FIELD = "username"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        ordering = ("username",)

    def __str__(self) -> str:
        return self.username

    @property
    def login(self) -> str:
        """The name as cargo and Ktra's clients show it."""
        return names.KTRA_PREFIX + self.username


class Credential(models.Model):
    """Something that proves a user. Only its SHA-256 is kept: the text cannot be shown again."""

    class Kind(models.TextChoices):
        CARGO_TOKEN = "cargo_token", "cargo token"

    DEFAULT = "default"

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="credentials")
    kind = models.CharField(max_length=20, choices=Kind)
    name = models.CharField(max_length=64, default=DEFAULT)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    scopes = models.CharField(max_length=255, help_text="What it allows, separated by spaces.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        ordering = ("-created_at",)
        constraints = [
            models.UniqueConstraint(
                fields=["user", "kind", "name"],
                condition=Q(revoked_at=None),
                name="one_live_credential_per_user_kind_and_name",
            )
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.name!r} of {self.user}"

    @property
    def is_live(self) -> bool:
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > timezone.now())


class BanQuerySet(models.QuerySet["Ban"]):
    def in_force(self) -> Self:
        return self.filter(Q(until=None) | Q(until__gt=timezone.now()), lifted_at=None)


class Ban(models.Model):
    """A closed door: while one is in force, no credential of the user is good anywhere."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="bans")
    reason = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    created_by = models.ForeignKey(
        User, null=True, blank=True, editable=False, on_delete=models.SET_NULL, related_name="+"
    )
    until = models.DateTimeField(null=True, blank=True, help_text="Empty: until it is lifted.")
    lifted_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = BanQuerySet.as_manager()

    class Meta:
        ordering = ("-created_at",)

    def __str__(self) -> str:
        return f"ban of {self.user}"

    def in_force(self, now: datetime | None = None) -> bool:
        return self.lifted_at is None and (self.until is None or self.until > (now or timezone.now()))


class Role(models.TextChoices):
    """What a user may do beyond their own things, in backup-repository's words."""

    COLLECTION_MANAGER = "collectionManager", "manages collections"
    USERS_MANAGER = "usersManager", "manages users"
    SYSTEM_ADMIN = "systemAdmin", "manages everything"
    BACKUP_DOWNLOADER = "backupDownloader", "downloads backups"
    BACKUP_UPLOADER = "backupUploader", "uploads backups"
    UPLOADS_ANYTIME = "uploadsAnytime", "uploads outside of the windows"


class RoleGrant(models.Model):
    """A role of a user."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="role_grants")
    role = models.CharField(max_length=32, choices=Role)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "role"], name="each_role_once_per_user")]

    def __str__(self) -> str:
        return self.role


class AuditEvent(models.Model):
    """What happened: who did what to what, and when. Rows are only ever added."""

    at = models.DateTimeField(default=timezone.now, db_index=True)
    actor = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    actor_name = models.CharField(max_length=255, help_text="As it was then.")
    action = models.CharField(max_length=64)
    target = models.CharField(max_length=400)
    detail = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering = ("-at", "-pk")
        indexes = [models.Index(fields=["target"], name="audit_by_target")]

    def __str__(self) -> str:
        return f"{self.actor_name} {self.action} {self.target}"

"""Users, their names, identities, credentials and roles, and bans."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache, reduce
from operator import or_
from typing import Any, ClassVar, Self, cast
from urllib.parse import quote

from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.hashers import UNUSABLE_PASSWORD_PREFIX, make_password
from django.contrib.auth.models import PermissionsMixin
from django.core.exceptions import ValidationError
from django.core.validators import URLValidator
from django.db import IntegrityError, models, transaction
from django.db.models import Exists, F, OuterRef, Q
from django.db.models.functions import Lower
from django.utils import timezone

from accounts import crate_patterns, name_patterns, names
from accounts.name_patterns import NameKind
from accounts.networks import validate_networks
from accounts.scopes import Scope
from accounts.signals import account_opened
from registry_site import audit
from registry_site.compiled_queries import compiled
from registry_site.errors import Conflict, Invalid, NotFound, RegistryError
from registry_site.http import client_address


class ReservedNameQuerySet(models.QuerySet["ReservedName"]):
    def matching(self, name: str, *kinds: NameKind) -> "ReservedName | None":
        """Return a reservation by staff of the name as one of these kinds, or None; in one query."""
        forms = [name_patterns.unique_form(kind, name) for kind in kinds]
        return next((row for row in _candidates(kinds)(*forms) if row.matches(name)), None)

    def candidates(self, forms: Mapping[NameKind, str]) -> Self:
        """Select the names with these forms, and all patterns of their kinds."""
        exact = reduce(or_, (Q(kind=kind, form=form) for kind, form in forms.items()))
        rows = self.filter(exact | Q(kind__in=list(forms), is_pattern=True))
        # In no order: that of the list would make SQLite read the whole index.
        return rows.order_by().only("kind", "pattern", "reason")


@cache
def _candidates(kinds: tuple[NameKind, ...]) -> "Callable[..., list[ReservedName]]":
    @compiled
    def candidates(*forms: str) -> ReservedNameQuerySet:
        return ReservedName.objects.candidates(dict(zip(kinds, forms, strict=True)))

    return candidates


class ReservedName(models.Model):
    """A name, or a pattern of names, that staff reserve: nothing new gets it. See `accounts.reserved_names`."""

    kind = models.CharField(max_length=16, choices=NameKind)
    pattern = models.CharField("name", max_length=255, help_text="Such as acme, or acme-* for all that begin so.")
    form = models.CharField(max_length=255, editable=False, help_text="In which names of this kind are unique.")
    is_pattern = models.BooleanField(default=False, editable=False)
    reason = models.CharField(max_length=500, help_text="Shown to those who publish such a crate; otherwise to staff.")
    reserved_at = models.DateTimeField(default=timezone.now, editable=False)
    reserved_by = models.ForeignKey(
        "User", null=True, blank=True, editable=False, on_delete=models.SET_NULL, related_name="+"
    )

    objects: ClassVar[ReservedNameQuerySet] = ReservedNameQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ("kind", "pattern")
        constraints = [
            models.UniqueConstraint(fields=["kind", "form"], name="each_name_reserved_once"),
            models.CheckConstraint(condition=Q(kind__in=NameKind.values), name="reserved_name_has_a_known_kind"),
        ]
        # Each check of a name reads all patterns of its kind: there are few, and this index has no others.
        indexes = [models.Index(fields=["kind"], condition=Q(is_pattern=True), name="reserved_patterns")]

    def __str__(self) -> str:
        return self.pattern

    def matches(self, name: str) -> bool:
        return name_patterns.matches(NameKind(self.kind), self.pattern, name)


# An account has a namespace of its own name.
KINDS_OF_ACCOUNTS = (NameKind.ACCOUNT, NameKind.NAMESPACE)


class NameReservationQuerySet(models.QuerySet["NameReservation"]):
    def looking_like(self, name: str) -> Self:
        """Select the reservations of this name and of all that look alike."""
        return self.filter(skeleton=names.skeleton(name))

    def of(self, user: "User | None") -> Self:
        """Select the present name and the former names of a user."""
        return self.none() if user is None else self.filter(Q(user=user) | Q(former_user=user))

    def require_free(
        self, name: str, user: "User | None" = None, kinds: Sequence[NameKind] = KINDS_OF_ACCOUNTS
    ) -> None:
        """Raise `Conflict` if the name is taken by anybody but `user`, or one that looks alike is.

        Raises `Invalid` for a name that staff reserve.
        """
        others = self.looking_like(name).exclude(pk__in=self.of(user).values("pk"))
        # In one query: the same name, committed between two, would be reported as one that looks alike.
        taken = set(others.values_list("name", flat=True))
        if names.canonical(name) in taken:
            raise name_taken(name)
        if taken:
            raise Conflict(
                f"The name {name!r} looks too much like one that is taken; choose another.", code="name_too_similar"
            )
        if ReservedName.objects.matching(name, *kinds):
            raise Invalid(f"The name {name!r} is reserved; choose another.", code="name_invalid")

    def reserve(
        self, name: str, user: "User | None" = None, kinds: Sequence[NameKind] = KINDS_OF_ACCOUNTS
    ) -> "NameReservation":
        """Reserve a name that neither exists nor looks like one of anybody but `user`; raises as `require_free`."""
        self.require_free(name, user, kinds)
        # Only a name of the same user lets the constraint pass: another's may have been committed just now.
        is_look_alike = self.of(user).looking_like(name).exists()
        try:
            with transaction.atomic():
                return self.create(name=names.canonical(name), is_look_alike=is_look_alike)
        except IntegrityError as error:
            self.require_free(name, user, kinds)  # raises the conflict with its reason
            raise name_taken(name) from error


def name_taken(name: str) -> Conflict:
    return Conflict(f"The name {name!r} is taken by a namespace or a user.", code="name_taken")


class NameReservation(models.Model):
    """A name in canonical form. Users and namespaces share them: the constraints settle a race for one."""

    name = models.CharField(max_length=names.MAX_LENGTH, unique=True, help_text="In canonical form.")
    skeleton = models.CharField(
        max_length=names.MAX_LENGTH, editable=False, help_text="The form that names share if they look alike."
    )
    is_look_alike = models.BooleanField(
        default=False,
        editable=False,
        help_text="Another name looks alike: one of the same user, or from before such names were refused.",
    )
    former_user = models.ForeignKey(
        "User",
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="former_names",
        help_text="The user who had this name before. Nobody else can take it.",
    )

    objects: ClassVar[NameReservationQuerySet] = NameReservationQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["skeleton"], condition=Q(is_look_alike=False), name="each_look_of_a_name_once"
            )
        ]
        indexes = [models.Index(fields=["skeleton"], name="names_by_look")]

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **options: Any) -> None:
        self.skeleton = names.skeleton(self.name)
        super().save(*args, **options)


# An account that waits for its address to be verified does not keep others from it.
RESERVES_EMAIL = Q(verification_sent_at=None) | Q(email_verified_at__isnull=False)


def good_standing(user: str = "", now: Any = None) -> Q:
    """Return the condition that a user is active, not banned, and not refused by the groups of an OpenID provider.

    `user` is the prefix of a query's path to the user, such as `user__`.
    """
    banned = Ban.objects.in_force(now).filter(user=OuterRef(f"{user}pk"))
    refused = Identity.objects.filter(user=OuterRef(f"{user}pk"), refused_at__isnull=False)
    return Q(~Exists(banned), ~Exists(refused), **{f"{user}is_active": True})


def way_in() -> Q:
    """Return the condition that a user has a password or an identity, whichever the settings let users sign in with."""
    ways = Q(pk=None)
    if settings.PASSWORD_LOGIN:
        ways |= ~Q(password="") & ~Q(password__startswith=UNUSABLE_PASSWORD_PREFIX)
    if settings.OIDC_LOGIN:
        ways |= Q(Exists(Identity.objects.filter(user=OuterRef("pk"), issuer=settings.OIDC_ISSUER)))
    return ways


class UserQuerySet(models.QuerySet["User"]):
    def annotate_is_banned(self) -> Self:
        return self.annotate(is_banned=Exists(Ban.objects.in_force().filter(user=OuterRef("pk"))))

    def in_good_standing(self) -> Self:
        return self.filter(good_standing())

    def annotate_can_sign_in(self) -> Self:
        return self.annotate(can_sign_in=way_in())

    def able_to_sign_in(self) -> Self:
        """Filter by a password or an identity, whichever the settings let users sign in with."""
        return self.filter(way_in())

    def named(self, *logins: str) -> Self:
        """Filter by names, in any case, with or without Ktra's prefix."""
        return self.filter(reservation__name__in=[names.canonical(names.strip_ktra_prefix(login)) for login in logins])

    def get_named(self, login: str) -> "User":
        """Return the user of this name. Raises `NotFound`."""
        user = self.named(login).first()
        if user is None:
            raise NotFound("There is no user of this name.", code="user_missing")
        return user

    def with_email(self, address: str) -> Self:
        """Filter by an e-mail address, in any case; the account that has verified it comes first."""
        # The unique index leaves out empty addresses: without the same condition, it would not be used.
        indexed = self.exclude(email="")
        users = indexed.alias(lower_email=Lower("email")).filter(lower_email=names.canonical(address))
        return users.order_by(F("email_verified_at").asc(nulls_last=True), "pk")

    def with_claim_to_email(self, address: str) -> Self:
        """Filter by an e-mail address that nobody else may ask for.

        Where addresses are verified, an unverified one goes to whoever proves it.
        """
        users = self.with_email(address)
        return users.exclude(email_verified_at=None) if settings.EMAIL_VERIFICATION else users


class UserManager(BaseUserManager.from_queryset(UserQuerySet)["User"]):  # type: ignore[misc]
    def create_user(self, username: str, email: str = "", password: str | None = None, **fields: Any) -> "User":
        """Create a user, as Django's commands and tests do. Raises as `create_with_hash` does."""
        # The slow hash is made before the transaction: other writers wait for that.
        return self.create_with_hash(username, email, make_password(password), **fields)

    @transaction.atomic
    def create_with_hash(self, username: str, email: str, encoded_password: str, **fields: Any) -> "User":
        """Reserve the name and insert the user.

        Raises `Conflict` if the name or one that looks alike is taken, `Invalid` if it is reserved, and
        `IntegrityError` if the address is taken.
        """
        reservation = NameReservation.objects.reserve(username)
        user: User = self.create(
            username=username,
            email=email,
            password=encoded_password,
            reservation=reservation,
            **fields,
        )
        account_opened.send(sender=User, user=user)
        return user

    def is_name_free(self, name: str) -> bool:
        """Return whether nobody has, had or reserves this name, or one that looks alike."""
        is_reserved = ReservedName.objects.matching(name, *KINDS_OF_ACCOUNTS) is not None
        return not (is_reserved or NameReservation.objects.looking_like(name).exists())

    def create_superuser(self, username: str, email: str = "", password: str | None = None, **fields: Any) -> "User":
        """Create an administrator, as Django's command `createsuperuser` does."""
        encoded = make_password(password)
        rights = {"is_staff": True, "is_superuser": True}
        with transaction.atomic():
            user: User = self.create_with_hash(username, email, encoded, **{**fields, **rights})
            audit.record(None, audit.Action.USER_REGISTER, user, admin=True)
        return user

    def get_by_natural_key(self, username: str | None) -> "User":
        return cast("User", self.named(username or "").get())


def validate_new_username(name: str) -> None:
    """Check the name of a new local user, for forms and Django's commands. Raises Django's `ValidationError`."""
    try:
        names.validate(name)
        NameReservation.objects.require_free(name)
    except RegistryError as error:
        raise ValidationError(error.message) from error


class User(AbstractBaseUser, PermissionsMixin):
    """An account of a person or a machine, for all dialects."""

    username = models.CharField(max_length=names.MAX_LENGTH, unique=True, validators=[validate_new_username])
    password = models.CharField(max_length=255)  # longer than Django's, for hashes of other systems
    reservation = models.OneToOneField(NameReservation, on_delete=models.PROTECT, related_name="user", editable=False)
    email = models.EmailField(blank=True)
    email_verified_at = models.DateTimeField(
        null=True, blank=True, help_text="When its owner followed the link, or when staff set the address."
    )
    verification_sent_at = models.DateTimeField(null=True, blank=True, editable=False)
    avatar_uri = models.CharField(max_length=500, blank=True, validators=[URLValidator(schemes=["http", "https"])])
    allowed_networks = models.CharField(
        max_length=1000,
        blank=True,
        validators=[validate_networks],
        help_text="IP addresses and networks, separated by spaces, that may use the account. Empty: all.",
    )
    is_active = models.BooleanField(
        "active", default=True, help_text="Untick this instead of deleting: publications keep their author."
    )
    is_staff = models.BooleanField("staff", default=False, help_text="May sign in to this admin site.")
    date_joined = models.DateTimeField(default=timezone.now, editable=False)

    objects: ClassVar[UserManager] = UserManager()

    EMAIL_FIELD = "email"
    USERNAME_FIELD = "username"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        ordering = ("username",)
        constraints = [
            models.UniqueConstraint(
                Lower("email"),
                condition=~Q(email="") & RESERVES_EMAIL,
                name="each_email_once_in_any_case",
                violation_error_message="Another account has this e-mail address.",
            )
        ]
        indexes = [models.Index(Lower("email"), condition=~Q(email=""), name="users_by_email")]
        permissions = [
            ("ban_user", "Can ban users, and lift bans"),
            ("reset_user", "Can unlock users, send links for passwords, and remove second factors"),
        ]

    # The session that authenticated this instance, if any. A change of the password revokes all others.
    session: "Credential | None" = None

    def __str__(self) -> str:
        return self.username

    @property
    def login(self) -> str:
        """The name as cargo and Ktra's clients show it, with Ktra's prefix or the host of an OpenID provider."""
        return self.username if ":" in self.username else names.KTRA_PREFIX + self.username

    @property
    def has_verified_email(self) -> bool:
        return self.email_verified_at is not None

    @property
    def has_verification_mail(self) -> bool:
        return self.has_verified_email or self.verification_sent_at is not None

    @property
    def page_url(self) -> str:
        """The URL of the public profile."""
        return f"{settings.PUBLIC_URL}/users/{quote(self.username, safe=':')}"

    def is_allowed_from(self, ip_address: str | None) -> bool:
        """Return whether the account may be used from this IP address. A command has none, and is allowed."""
        return (
            not self.allowed_networks
            or ip_address is None
            or client_address.is_within(ip_address, self.allowed_networks)
        )


class NotificationChoices(models.Model):
    """Which mails a user wants. Without a row, all of them."""

    user = models.OneToOneField(
        User, primary_key=True, on_delete=models.CASCADE, related_name="notification_choices", editable=False
    )
    new_versions = models.BooleanField("new versions of your crates", default=True)
    owners_changed = models.BooleanField("changes of the owners of your crates", default=True)
    tokens_made = models.BooleanField("new tokens and app keys", default=True)
    tokens_ending = models.BooleanField("tokens that end within a week", default=True)
    new_sign_ins = models.BooleanField("sign-ins from a new network or a new program", default=True)
    invitations = models.BooleanField("invitations to namespaces and packages", default=True)

    def __str__(self) -> str:
        return f"mails to {self.user}"


class Identity(models.Model):
    """A user's identity at an OpenID provider: the issuer, and its subject, which it never gives to another user."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="identities")
    issuer = models.CharField(max_length=255)
    subject = models.CharField(max_length=255)
    administers = models.BooleanField(
        default=False, help_text="A group named by the provider makes the user an administrator."
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    last_seen_at = models.DateTimeField(null=True, blank=True, editable=False)
    refused_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="When the provider named no allowed group or user."
    )

    class Meta:
        verbose_name_plural = "identities"
        constraints = [models.UniqueConstraint(fields=["issuer", "subject"], name="each_identity_once")]

    def __str__(self) -> str:
        return f"{self.subject} at {self.issuer}"


class CredentialQuerySet(models.QuerySet["Credential"]):
    def of_kind(self, *kinds: str) -> Self:
        return self.filter(kind__in=kinds)

    def unrevoked(self) -> Self:
        """Exclude the revoked ones. Expired ones stay: `live` excludes them, too."""
        return self.filter(revoked_at=None)

    def live(self) -> Self:
        return self.unrevoked().filter(Q(expires_at=None) | Q(expires_at__gt=timezone.now()))

    def mark_revoked(self) -> int:
        """Revoke the unrevoked ones; return how many there were. `revocation.revoke` also locks, and records it."""
        return self.unrevoked().update(revoked_at=timezone.now())


ENDS_SOON = timedelta(days=7)


class Credential(models.Model):
    """Something that proves a user. It is looked up by the SHA-256 of the text that its holder sends.

    The text itself is not stored. An app key is looked up by its public id, and its secret is stored encrypted.
    """

    class Kind(models.TextChoices):
        CARGO_TOKEN = "cargo_token", "cargo token"
        BACKUPS_SESSION = "backups_session", "backup-repository session"
        TORRUST_SESSION = "torrust_session", "torrust session"
        BROWSER_SESSION = "browser_session", "browser session"
        APP_KEY = "app_key", "app key"

    class AppKeyType(models.TextChoices):
        READ_ONLY = "READ_ONLY"
        PUBLISH = "PUBLISH"
        ALL = "ALL"

    SESSION_KINDS = (Kind.BACKUPS_SESSION, Kind.TORRUST_SESSION, Kind.BROWSER_SESSION)

    NAMED_KINDS = (Kind.CARGO_TOKEN, Kind.APP_KEY)

    DEFAULT_NAME = "default"

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="credentials")
    kind = models.CharField(max_length=20, choices=Kind)
    name = models.CharField(max_length=64, default=DEFAULT_NAME)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    scopes = models.JSONField(default=list, help_text="The list of scopes that the credential allows.")
    crate_patterns = models.JSONField(default=list, help_text="The crates that it may change. Empty: all of its user.")
    app_key_type = models.CharField(max_length=20, choices=AppKeyType, blank=True, editable=False)
    secret = models.TextField(blank=True, editable=False)
    ip_address = models.GenericIPAddressField("from", null=True, blank=True, editable=False, unpack_ipv4=True)
    user_agent = models.CharField(
        max_length=client_address.MAX_USER_AGENT_LENGTH,
        blank=True,
        editable=False,
        help_text="Of the client that began the session.",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(
        "last used", null=True, blank=True, editable=False, help_text="Written at most once an hour."
    )
    last_used_ip = models.GenericIPAddressField(
        "last used from", null=True, blank=True, editable=False, unpack_ipv4=True
    )
    end_announced_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="When its user got word that the token ends soon."
    )
    proven_at = models.DateTimeField(
        null=True,
        default=timezone.now,
        editable=False,
        help_text="When the user of the session last signed in, or confirmed it. Empty: must do so before changes.",
    )

    objects = CredentialQuerySet.as_manager()

    class Meta:
        verbose_name = "token or session"
        verbose_name_plural = "tokens and sessions"
        ordering = ("-created_at", "-pk")
        constraints = [
            models.UniqueConstraint(
                fields=["user", "name"],
                condition=Q(revoked_at=None, kind="cargo_token"),
                name="one_live_cargo_token_per_user_and_name",
            )
        ]
        indexes = [
            models.Index(fields=["user", "kind", "-created_at"], name="credentials_newest_first"),
            models.Index(fields=["-created_at", "-id"], name="all_credentials_newest_first"),
            models.Index(fields=["ip_address"], name="credentials_by_address"),
            models.Index(fields=["last_used_ip"], name="credentials_by_last_address"),
            models.Index(
                fields=["expires_at"],
                condition=Q(kind="cargo_token", revoked_at=None, end_announced_at=None, expires_at__isnull=False),
                name="tokens_by_end",
            ),
            models.Index(
                fields=["name"],
                condition=Q(kind__in=("cargo_token", "app_key")) & ~Q(name="default"),
                name="tokens_by_name",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.title} of {self.user}"

    @property
    def title(self) -> str:
        """What it is and its name, for messages to its holder."""
        return f"{self.get_kind_display()} {self.name!r}"

    @property
    def is_revoked(self) -> bool:
        return self.revoked_at is not None

    @property
    def is_live(self) -> bool:
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > timezone.now())

    @property
    def ends_soon(self) -> bool:
        """Whether it ends within a week."""
        return self.expires_at is not None and self.expires_at <= timezone.now() + ENDS_SOON

    @property
    def updated_at(self) -> datetime:
        """The time of the last change: revocation is the only one."""
        return self.revoked_at or self.created_at

    @property
    def requester(self) -> str:
        """The IP address that the credential was issued to, or an empty text."""
        return self.ip_address or ""

    def allows(self, scope: Scope) -> bool:
        """Return whether the credential allows `scope`, for some crate at least."""
        # ALL means all: the stored list is older than a scope that was added later.
        return self.app_key_type == self.AppKeyType.ALL or scope in self.scopes

    def covers(self, crate: str) -> bool:
        """Return whether the credential may change a crate of this name, as far as its patterns decide."""
        return not self.crate_patterns or crate_patterns.match(self.crate_patterns, crate)


class Authenticator(models.Model):
    """A second factor of a user, beside the password: an app that shows codes, or a passkey.

    The secret of an app is stored encrypted. A passkey has no secret here: only its public key is stored.
    """

    class Kind(models.TextChoices):
        APP = "app", "authenticator app"
        PASSKEY = "passkey", "passkey"

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="authenticators")
    kind = models.CharField(max_length=10, choices=Kind)
    name = models.CharField(max_length=64)
    secret = models.CharField(max_length=300, blank=True, editable=False)
    last_step = models.BigIntegerField(
        default=0, editable=False, help_text="The time step of the last code that was accepted: none counts twice."
    )
    # Of a passkey: what it is looked up by; its id and its public key, both in URL-safe base64.
    digest = models.CharField(max_length=64, null=True, unique=True, editable=False)  # noqa: DJ001 - apps have none
    credential_id = models.CharField(max_length=1400, blank=True, editable=False)
    public_key = models.CharField(max_length=1400, blank=True, editable=False)
    sign_count = models.BigIntegerField(default=0, editable=False, help_text="Grows with each use of some passkeys.")
    transports = models.JSONField(default=list, editable=False, help_text="Ways by which browsers reach the passkey.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        ordering = ("created_at", "pk")

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.name}"


class RecoveryCode(models.Model):
    """A code that replaces a lost second factor once. Its row goes with its use."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="recovery_codes")
    digest = models.CharField(max_length=64, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "digest"], name="each_recovery_code_once")]

    def __str__(self) -> str:
        return f"recovery code of {self.user}"


class Nonce(models.Model):
    """A random value of a signed request. The unique constraint lets only one request use it."""

    credential = models.ForeignKey(Credential, on_delete=models.CASCADE, related_name="nonces")
    digest = models.CharField(max_length=64)
    used_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["credential", "digest"], name="each_nonce_once")]
        indexes = [models.Index(fields=["credential", "used_at"], name="nonces_by_age")]

    def __str__(self) -> str:
        return self.digest


class LoginFailureQuerySet(models.QuerySet["LoginFailure"]):
    def counted(self) -> Self:
        """Exclude those that staff have unlocked."""
        return self.filter(unlocked=False)


class LoginFailure(models.Model):
    """A log-in with a wrong name, password or second factor, or at an account that must not be used.

    The throttle of log-ins counts these rows.
    """

    class Refusal(models.TextChoices):
        """Why the right password of an account was refused."""

        BANNED = "banned", "the account is banned"
        CLOSED = "closed", "the account is closed"
        PROVIDER = "provider", "its OpenID provider refuses the account"
        ADDRESS = "address", "the account is for other addresses"

    at = models.DateTimeField(default=timezone.now, db_index=True)
    name = models.CharField(max_length=255, help_text="The name of the attempt, in canonical form.")
    ip_address = models.GenericIPAddressField("from", null=True, blank=True, unpack_ipv4=True)
    network = models.CharField(max_length=64, help_text="Failures from one network count together.")
    forgiven = models.BooleanField(default=False, help_text="The right password followed from this network.")
    unlocked = models.BooleanField(default=False, help_text="Staff unlocked the account: this failure counts no more.")
    of_code = models.BooleanField(
        default=False, help_text="The password was right, and the code of the second factor was wrong."
    )
    refusal = models.CharField(
        "cause of the refusal",
        max_length=16,
        choices=Refusal,
        blank=True,
        help_text="The password was right, and this was against it.",
    )

    objects = LoginFailureQuerySet.as_manager()

    class Meta:
        verbose_name = "failed log-in"
        verbose_name_plural = "failed log-ins"
        ordering = ("-at", "-pk")
        indexes = [
            models.Index(fields=["name", "at"], name="failures_by_name"),
            models.Index(fields=["network", "at"], name="failures_by_network"),
            models.Index(fields=["ip_address"], name="failures_by_address"),
        ]

    def __str__(self) -> str:
        return f"{self.name} from {self.ip_address}"

    @property
    def cause(self) -> str:
        """Return what the log-in failed for; clients learn of a wrong password alone."""
        if self.refusal:
            return self.get_refusal_display()
        return "wrong second factor" if self.of_code else "wrong name or password"


class BanQuerySet(models.QuerySet["Ban"]):
    def unexpired(self, now: Any = None) -> Self:
        return self.filter(Q(until=None) | Q(until__gt=now or timezone.now()))

    def in_force(self, now: Any = None) -> Self:
        return self.unexpired(now).filter(lifted_at=None)


class Ban(models.Model):
    """A ban of a user. While it is in force, no credential of the user is valid."""

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

    @property
    def is_in_force(self) -> bool:
        return self.lifted_at is None and (self.until is None or self.until > timezone.now())


class Role(models.TextChoices):
    """The roles of backup-repository: rights beyond a user's own things."""

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

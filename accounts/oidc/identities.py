"""Identities at an OpenID provider, and the accounts and rights that follow from them.

An issuer and a subject make an identity, never an e-mail address or a name. The provider's groups take effect at each
sign-in, for every credential of the account: an account that is no longer allowed is refused everywhere.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts import names, roles
from accounts.models import KINDS_OF_ACCOUNTS, Identity, ReservedName, User
from accounts.oidc import id_tokens
from accounts.principals import Principal
from accounts.scopes import Scope
from accounts.second_factor import proofs
from registry_site import audit
from registry_site.errors import Conflict, NotFound, PermissionDenied
from registry_site.http import client_address

Claims = Mapping[str, Any]

MAX_SAME_NAMES = 1000  # accounts of one displayed name: `host:name`, `host:name-2` …
NOT_ALLOWED = (
    "Openid error: Unauthorized user for publishing/owning rights: "
    "the provider counts you to none of the groups and users that this registry lets in."
)


def sign_in(issuer: str, claims: Claims) -> User:
    """Return the account of the user who signed in at the provider, opened at the first sign-in.

    Raises `PermissionDenied` for users who are not allowed, whose account is refused everywhere from then on, and for
    an account that is closed or must not be used from the client's address.
    """
    identity = _require_allowed(issuer, claims) or _open_account(issuer, claims)
    sync_from_claims(identity, claims)
    user = identity.user
    if not (
        user.is_allowed_from(client_address.client_ip()) and User.objects.in_good_standing().filter(pk=user.pk).exists()
    ):
        raise PermissionDenied("Your account here is closed or banned, or must not be used from your address.")
    return user


def link_to_account(principal: Principal, issuer: str, claims: Claims) -> User:
    """Link the identity of the user who signed in at the provider to the principal's account.

    Raises `PermissionDenied` as `sign_in` does, and `Conflict` when the identity belongs to another account.
    """
    _require_allowed(issuer, claims)
    with transaction.atomic():
        principal.revalidate_and_lock()
        identity = link_identity(principal.user, issuer, id_tokens.get_subject(claims), actor=principal.user)
    sync_from_claims(identity, claims)
    return identity.user


def link_identity(user: User, issuer: str, subject: str, *, actor: User | None) -> Identity:
    """Link an identity to an account; raises `Conflict` when it belongs to another account."""
    with transaction.atomic():
        identity, is_new = Identity.objects.select_related("user").get_or_create(
            issuer=issuer, subject=subject, defaults={"user": user}
        )
        if is_new:
            audit.record(actor, audit.Action.IDENTITY_LINK, user, issuer=issuer, subject=subject)
    if identity.user_id != user.pk:
        raise Conflict(f"This identity belongs to the account {identity.user} already.")
    return identity


def unlink_identity(user: User, issuer: str, subject: str, *, actor: User | None) -> None:
    """Unlink an identity from an account, with the rights that it gave; raises `NotFound`."""
    with transaction.atomic():
        locked = User.objects.select_for_update(no_key=True).get(pk=user.pk)
        identity = Identity.objects.filter(user=locked, issuer=issuer, subject=subject).first()
        if identity is None:
            raise NotFound(f"{user} has no such identity.")
        _sync_administrator(locked, identity, administers=False)
        if identity.refused_at is not None:
            # The refusal goes with the identity: without this, unlinking would open a refused account again.
            locked.is_active = False
            locked.save(update_fields=["is_active"])
        identity.delete()
        audit.record(
            actor, audit.Action.IDENTITY_UNLINK, user, issuer=issuer, subject=subject, closed=not locked.is_active
        )


def unlink_own(principal: Principal, key: int) -> None:
    """Unlink an identity from the principal's account.

    Raises `ConfirmationRequired`, `NotFound`, and `Conflict` for the last way to sign in, and for that of the only
    administrator.
    """
    principal.require(Scope.ACCOUNT)
    proofs.require_recent(principal)
    user = principal.user
    with transaction.atomic():
        principal.revalidate_and_lock(*roles.administrators())
        identity = user.identities.filter(pk=key).first()
        if identity is None:
            raise NotFound("Your account has no such identity.")
        has_password = settings.PASSWORD_LOGIN and user.has_usable_password()
        has_other = settings.OIDC_LOGIN and user.identities.filter(issuer=settings.OIDC_ISSUER).exclude(pk=key).exists()
        if not (has_password or has_other):
            raise Conflict("This is the last way to sign in to your account.")
        if identity.administers:
            roles.require_other_administrator(user, actor=user)
        unlink_identity(user, identity.issuer, identity.subject, actor=user)


def is_allowed(claims: Claims) -> bool:
    """Return whether the user is in an allowed group or is an allowed user; with neither configured, all are."""
    if not (settings.OIDC_ALLOWED_GROUPS or settings.OIDC_ALLOWED_USERS):
        return True
    groups = id_tokens.list_values(claims, settings.OIDC_GROUPS_CLAIM)
    if not set(settings.OIDC_ALLOWED_GROUPS).isdisjoint(groups):
        return True
    nickname = nickname_of(claims)
    # At many providers users may enter any e-mail address: one that is not verified may be another person's.
    is_email = nickname in [email.strip() for email in id_tokens.list_values(claims, "email")]
    is_unverified = is_email and claims.get("email_verified", True) not in (True, "true")
    return nickname in settings.OIDC_ALLOWED_USERS and not is_unverified


def nickname_of(claims: Claims) -> str | None:
    """Return the user's name at the provider, from the first configured claim that has a value."""
    for name in settings.OIDC_USERNAME_CLAIM:
        for value in id_tokens.list_values(claims, name):
            if value.strip():
                return value.strip()
    return None


def sync_from_claims(identity: Identity, claims: Claims) -> None:
    """Store the rights that the claims give, and withdraw rights that another provider gave before.

    Raises `PermissionDenied` for an identity that was unlinked meanwhile.
    """
    groups = id_tokens.list_values(claims, settings.OIDC_GROUPS_CLAIM)
    administers = not set(settings.OIDC_ADMIN_GROUPS).isdisjoint(groups)
    with transaction.atomic():
        user = User.objects.select_for_update(no_key=True).get(pk=identity.user_id)
        administers = _sync_administrator(user, identity, administers)
        Identity.objects.filter(pk=identity.pk).update(
            administers=administers, refused_at=None, last_seen_at=timezone.now()
        )
        for former in user.identities.filter(administers=True).exclude(issuer=identity.issuer):
            _sync_administrator(user, former, administers=False)
            Identity.objects.filter(pk=former.pk).update(administers=False)
    identity.user.refresh_from_db()


def _find(issuer: str, subject: str) -> Identity | None:
    return Identity.objects.filter(issuer=issuer, subject=subject).select_related("user").first()


def _require_allowed(issuer: str, claims: Claims) -> Identity | None:
    """Return the identity, if it exists; mark it as refused and raise `PermissionDenied` unless it is allowed."""
    identity = _find(issuer, id_tokens.get_subject(claims))
    if is_allowed(claims):
        return identity
    if identity is not None:
        with transaction.atomic():
            user = User.objects.select_for_update(no_key=True).get(pk=identity.user_id)
            _sync_administrator(user, identity, administers=False)
            unrefused = Identity.objects.filter(pk=identity.pk, refused_at=None)
            if unrefused.update(administers=False, refused_at=timezone.now()):
                audit.record(user, audit.Action.IDENTITY_REFUSE, user, issuer=issuer, subject=identity.subject)
    raise PermissionDenied(NOT_ALLOWED, code="not_authorized")


def _open_account(issuer: str, claims: Claims) -> Identity:
    """Open an account named `issuer-host:nickname`, or with a number if somebody has or had such a name."""
    subject = id_tokens.get_subject(claims)
    nickname = nickname_of(claims)
    if nickname is None:
        claim_names = " or ".join(settings.OIDC_USERNAME_CLAIM)
        raise PermissionDenied(
            f"Openid error: No nickname available for registration: the provider sends no {claim_names}."
        )
    name = _unreserved_name(urlsplit(issuer).hostname or "", nickname, subject)
    password = make_password(None)
    for number in range(1, MAX_SAME_NAMES):
        try:
            with transaction.atomic():
                user = User.objects.create_with_hash(names.numbered(name, number), "", password)
                identity = Identity.objects.create(user=user, issuer=issuer, subject=subject)
                audit.record(user, audit.Action.USER_REGISTER, user, issuer=issuer, subject=subject)
                return identity
        except (Conflict, IntegrityError):
            # Either the name is taken, or a concurrent first sign-in has opened the account.
            concurrent = _find(issuer, subject)
            if concurrent is not None:
                return concurrent
    raise Conflict(f"There are too many accounts called {name} here.")


def _unreserved_name(host: str, nickname: str, subject: str) -> str:
    """Return the name of a new account, by the subject if staff reserve the one by the nickname.

    Raises `PermissionDenied` if they reserve both.
    """
    for name in (names.at_provider(host, nickname, subject), names.at_provider(host, subject, subject)):
        if ReservedName.objects.matching(name, *KINDS_OF_ACCOUNTS) is None:
            return name
    raise PermissionDenied(
        f"Openid error: the name {name} is reserved here. Ask the operator for an account.", code="not_authorized"
    )


def _sync_administrator(user: User, identity: Identity, administers: bool) -> bool:
    """Make the user an administrator, or no longer one, as the identity's groups say; return what to store for it.

    Rights that staff gave or that another identity gives stay. Raises `PermissionDenied` for an unlinked identity.
    """
    stored = Identity.objects.filter(pk=identity.pk).values_list("administers", flat=True).first()
    if stored is None:
        raise PermissionDenied("Openid error: this identity has just been taken from its account; begin again at /me.")
    if administers == stored:
        return stored
    by_others = user.identities.filter(administers=True).exclude(pk=identity.pk).exists()
    if user.is_superuser and not (stored or by_others):
        return False  # staff made this administrator: the provider must not take that away later
    if administers != user.is_superuser and not by_others:
        user.is_staff = user.is_superuser = administers
        user.save(update_fields=["is_staff", "is_superuser"])
        action = audit.Action.USER_PROMOTE if administers else audit.Action.USER_DEMOTE
        audit.record(user, action, user, by="the groups at the provider")
    return administers

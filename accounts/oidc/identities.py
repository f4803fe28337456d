"""Accounts of those who sign in at an OpenID provider: who they are there, and what follows from it here.

An identity is an issuer and a subject, never an e-mail address or a name. What the provider says of groups counts from
each sign-in on, for every credential of the account: whoever is not let in any more is refused at every door.
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts import audit
from accounts.models import Identity, User
from accounts.oidc import id_tokens
from accounts.principals import Principal
from registry_site.errors import Conflict, NotFound, PermissionDenied
from registry_site.http import client_address

MAX_NAME_LENGTH = 100
MAX_SAME_NAMES = 1000
NICKNAME = re.compile(r"[^A-Za-z0-9._@+-]+")
NOT_ALLOWED = (
    "Openid error: Unauthorized user for publishing/owning rights: "
    "the provider counts you to none of the groups and users that this registry lets in."
)


def sign_in(issuer: str, said: Mapping[str, Any]) -> User:
    """The account of whoever the provider says has signed in; the first time, a new one.

    Raises `PermissionDenied` for who is not let in, whose account is closed to every door then, and for an account
    that is closed or must not be used from where the request comes.
    """
    identity = _let_in(issuer, said) or _open(issuer, id_tokens.get_subject(said), said)
    _follow(identity, said)
    user = identity.user
    if not (
        user.is_allowed_from(client_address.client_ip()) and User.objects.in_good_standing().filter(pk=user.pk).exists()
    ):
        raise PermissionDenied("Your account here is closed or banned, or must not be used from your address.")
    return user


def link_to_account(principal: Principal, issuer: str, said: Mapping[str, Any]) -> User:
    """From now on the principal's account is that of whoever has just signed in at the provider, too.

    Raises `PermissionDenied` as `sign_in` does, and `Conflict` when that is another account already.
    """
    _let_in(issuer, said)
    with transaction.atomic():
        principal.revalidate_and_lock()
        identity = link_identity(principal.user, issuer, id_tokens.get_subject(said), actor=principal.user)
    _follow(identity, said)
    return identity.user


def link_identity(user: User, issuer: str, subject: str, *, actor: User | None) -> Identity:
    """Link an identity to an account; raises `Conflict` when it belongs to another."""
    with transaction.atomic():
        identity, new = Identity.objects.select_related("user").get_or_create(
            issuer=issuer, subject=subject, defaults={"user": user}
        )
        if new:
            audit.record(actor, "identity.link", str(user), issuer=issuer, subject=subject)
    if identity.user_id != user.pk:
        raise Conflict(f"This identity belongs to the account {identity.user} already.")
    return identity


def unlink_identity(user: User, issuer: str, subject: str, *, actor: User | None) -> None:
    """Take an identity from an account, with the rights that came of it; raises `NotFound`.

    An account that the provider turned away stays closed: from then on it is deactivated.
    """
    with transaction.atomic():
        held = User.objects.select_for_update(no_key=True).get(pk=user.pk)
        identity = Identity.objects.filter(user=held, issuer=issuer, subject=subject).first()
        if identity is None:
            raise NotFound(f"{user} has no such identity.")
        _follow_rights(held, identity, administers=False)
        if identity.refused_at is not None:
            held.is_active = False
            held.save(update_fields=["is_active"])
        identity.delete()
        audit.record(actor, "identity.unlink", str(user), issuer=issuer, subject=subject, closed=not held.is_active)


def _find(issuer: str, subject: str) -> Identity | None:
    return Identity.objects.filter(issuer=issuer, subject=subject).select_related("user").first()


def _let_in(issuer: str, said: Mapping[str, Any]) -> Identity | None:
    """The identity, if there is one; raises `PermissionDenied` for who is not let in, after the account is closed."""
    identity = _find(issuer, id_tokens.get_subject(said))
    if not _lets_in(said):
        if identity is not None:
            _refuse(identity)
        raise PermissionDenied(NOT_ALLOWED, code="not_authorized")
    return identity


def _lets_in(said: Mapping[str, Any]) -> bool:
    """With neither groups nor users in the settings, everybody; else whoever is among either."""
    if not (settings.OIDC_ALLOWED_GROUPS or settings.OIDC_ALLOWED_USERS):
        return True
    by_group = set(settings.OIDC_ALLOWED_GROUPS).intersection(id_tokens.list_values(said, settings.OIDC_GROUPS_CLAIM))
    return bool(by_group) or (_nickname(said) in settings.OIDC_ALLOWED_USERS and not _is_unverified_address(said))


def _administers(said: Mapping[str, Any]) -> bool:
    return not set(settings.OIDC_ADMIN_GROUPS).isdisjoint(id_tokens.list_values(said, settings.OIDC_GROUPS_CLAIM))


def _nickname(said: Mapping[str, Any]) -> str | None:
    """What the provider calls them, in the first of the configured claims that says anything."""
    for name in settings.OIDC_USERNAME_CLAIM:
        for word in id_tokens.list_values(said, name):
            if word.strip():
                return word.strip()
    return None


def _is_unverified_address(said: Mapping[str, Any]) -> bool:
    """Are they called by an e-mail address of which the provider says that it may be of somebody else?"""
    by_address = _nickname(said) in [word.strip() for word in id_tokens.list_values(said, "email")]
    return by_address and said.get("email_verified", True) not in (True, "true")


def _shown_name(issuer: str, said: Mapping[str, Any]) -> str:
    """`issuer-host:nickname`; characters that a name cannot have become `-`, one with no other is the subject's."""
    nickname = _nickname(said)
    if nickname is None:
        looked_for = " or ".join(settings.OIDC_USERNAME_CLAIM)
        raise PermissionDenied(
            f"Openid error: No nickname available for registration: the provider sends no {looked_for}."
        )
    slugs = (NICKNAME.sub("-", text).strip("-") for text in (nickname, id_tokens.get_subject(said)))
    return f"{urlsplit(issuer).hostname}:{next(filter(None, slugs), 'user')}"[:MAX_NAME_LENGTH]


def _open(issuer: str, subject: str, said: Mapping[str, Any]) -> Identity:
    """A new account under the shown name, or with a number after it when somebody else is or was called so."""
    name, password = _shown_name(issuer, said), make_password(None)
    for number in range(1, MAX_SAME_NAMES):
        shown = name if number == 1 else f"{name}-{number}"
        try:
            with transaction.atomic():
                user = User.objects.open(shown, "", password)
                identity = Identity.objects.create(user=user, issuer=issuer, subject=subject)
                audit.record(user, "user.register", str(user), issuer=issuer, subject=subject)
                return identity
        except IntegrityError:
            made_meanwhile = _find(issuer, subject)
            if made_meanwhile is not None:
                return made_meanwhile
    raise Conflict(f"There are too many accounts called {name} here.")


def _follow(identity: Identity, said: Mapping[str, Any]) -> None:
    """What the provider says of the user holds here from now on, and no more what another said that was here before."""
    administers = _administers(said)
    with transaction.atomic():
        user = User.objects.select_for_update(no_key=True).get(pk=identity.user_id)
        administers = _follow_rights(user, identity, administers)
        Identity.objects.filter(pk=identity.pk).update(
            administers=administers, refused_at=None, last_seen_at=timezone.now()
        )
        for former in user.identities.filter(administers=True).exclude(issuer=identity.issuer):
            _follow_rights(user, former, administers=False)
            Identity.objects.filter(pk=former.pk).update(administers=False)
    identity.user.refresh_from_db()


def _follow_rights(user: User, identity: Identity, administers: bool) -> bool:
    """Rights that staff gave stay, and so do those of another identity; gives what is kept of this one.

    Raises `PermissionDenied` for an identity that is gone.
    """
    was = Identity.objects.filter(pk=identity.pk).values_list("administers", flat=True).first()
    if was is None:
        raise PermissionDenied("Openid error: this identity has just been taken from its account; begin again at /me.")
    if administers == was:
        return was
    others = user.identities.filter(administers=True).exclude(pk=identity.pk).exists()
    if user.is_superuser and not (was or others):
        return False
    if administers != user.is_superuser and not others:
        _set_administrator(user, administers)
    return administers


def _set_administrator(user: User, administers: bool) -> None:
    user.is_staff = user.is_superuser = administers
    user.save(update_fields=["is_staff", "is_superuser"])
    audit.record(user, "user.promote" if administers else "user.demote", str(user), by="the groups at the provider")


def _refuse(identity: Identity) -> None:
    """The account is closed from the next request on, and has no rights left that the provider gave."""
    with transaction.atomic():
        user = User.objects.select_for_update(no_key=True).get(pk=identity.user_id)
        _follow_rights(user, identity, administers=False)
        if Identity.objects.filter(pk=identity.pk, refused_at=None).update(
            administers=False, refused_at=timezone.now()
        ):
            audit.record(user, "identity.refuse", str(user), issuer=identity.issuer, subject=identity.subject)

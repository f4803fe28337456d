"""A user's own cargo tokens: list them, create named ones and revoke them, with the default token."""

from collections.abc import Sequence
from datetime import datetime

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from accounts.credentials import cargo_tokens, revocation
from accounts.models import Credential, CredentialQuerySet, User
from accounts.principals import Principal
from registry_site.errors import Conflict, NotFound, PermissionDenied

MAX_TOKENS = 100  # live ones of a user


def list_tokens(principal: Principal) -> list[Credential]:
    """Return the live tokens, the latest first; raises `PermissionDenied`."""
    require_default(principal)
    return list(live_tokens(principal.user))


def create_token(
    principal: Principal, name: str, scopes: Sequence[str], expires_at: datetime | None
) -> tuple[Credential, str]:
    """Create a named token, and return it with its text.

    Raises `PermissionDenied`, and what `cargo_tokens.create` raises; also `Conflict` for too many tokens.
    """
    require_default(principal)
    with transaction.atomic():
        principal.revalidate_and_lock()
        if live_tokens(principal.user).count() >= MAX_TOKENS:
            raise Conflict(f"You have {MAX_TOKENS} tokens; revoke one of them first.")
        text = cargo_tokens.create(principal.user, name, scopes, expires_at)
        return cargo_tokens.unrevoked_tokens(principal.user).get(name=name), text


def revoke_token(principal: Principal, key: int) -> None:
    """Revoke a token; raises `PermissionDenied`, and `NotFound` for one of another user."""
    require_default(principal)
    token = cargo_tokens.unrevoked_tokens(principal.user).filter(pk=key).first()
    if token is None:
        raise NotFound("You have no token of this id.")
    revocation.revoke(token, principal.user)


def live_tokens(user: User) -> CredentialQuerySet:
    return cargo_tokens.unrevoked_tokens(user).filter(Q(expires_at=None) | Q(expires_at__gt=timezone.now()))


def require_default(principal: Principal) -> None:
    """Require the default token: a named one may allow less, and must not make one that allows more."""
    if principal.credential is None or principal.credential.name != Credential.DEFAULT_NAME:
        raise PermissionDenied("Only the default token lists, creates and revokes tokens.")

"""A user's own cargo tokens: list them, create named ones and revoke them, with the default token or in a browser."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from accounts.credentials import cargo_tokens, repeated_forms, revocation
from accounts.models import Credential, CredentialQuerySet, User
from accounts.principals import Principal
from accounts.scopes import parse_scopes
from accounts.second_factor import proofs
from registry_site.errors import Conflict, NotFound, PermissionDenied

MAX_TOKENS = 100  # live ones of a user
SHOWN_AFTER_END = timedelta(days=30)


def list_tokens(principal: Principal) -> list[Credential]:
    """Return the live tokens, the latest first; raises `PermissionDenied`."""
    require_full(principal)
    return list(live_tokens(principal.user))


def list_expired_tokens(principal: Principal) -> list[Credential]:
    """Return the tokens that expired in the last 30 days, the latest first; raises `PermissionDenied`."""
    require_full(principal)
    now = timezone.now()
    expired = cargo_tokens.unrevoked_tokens(principal.user).filter(expires_at__gt=now - SHOWN_AFTER_END)
    return list(expired.filter(expires_at__lte=now)[:MAX_TOKENS])


def create_token(
    principal: Principal,
    name: str,
    scopes: Sequence[str],
    expires_at: datetime | None,
    patterns: Sequence[str] = (),
    newest: int | None = None,
) -> tuple[Credential, str]:
    """Create a named token, and return it with its text. `newest` is what the form of a page carries.

    Raises `PermissionDenied`, `ConfirmationRequired`, and what `cargo_tokens.create` raises; also `Conflict` for too
    many tokens or a form that is sent again.
    """
    require_full(principal)
    proofs.require_recent(principal)
    for scope in parse_scopes(scopes):
        principal.require_any(scope)
    with transaction.atomic():
        principal.revalidate_and_lock()
        repeated_forms.require_first(principal.user, Credential.Kind.CARGO_TOKEN, newest)
        _require_room(principal.user, "You have")
        text = cargo_tokens.create(principal.user, name, scopes, expires_at, patterns)
        return cargo_tokens.unrevoked_tokens(principal.user).get(name=name), text


def create_token_as_staff(
    user: User, *, name: str, scopes: Sequence[str], patterns: Sequence[str], expires_at: datetime | None, actor: User
) -> str:
    """Create a named token for a user, and return its text; raises as `cargo_tokens.create`, and for too many."""
    with transaction.atomic():
        Principal(user).revalidate_and_lock()
        _require_room(user, f"{user} has")
        return cargo_tokens.create(user, name, scopes, expires_at, patterns, actor=actor)


def _require_room(user: User, subject: str) -> None:
    """Raise `Conflict` if a user has as many live tokens as one may have. The caller has locked the user."""
    if live_tokens(user).count() >= MAX_TOKENS:
        raise Conflict(f"{subject} {MAX_TOKENS} tokens; revoke one of them first.")


def revoke_token(principal: Principal, key: int) -> Credential:
    """Revoke a token, and return it; raises `PermissionDenied`, and `NotFound` for one of another user."""
    require_full(principal)
    token = cargo_tokens.unrevoked_tokens(principal.user).filter(pk=key).first()
    if token is None:
        raise NotFound("You have no token of this id.")
    revocation.revoke(token, principal.user)
    return token


def live_tokens(user: User) -> CredentialQuerySet:
    return cargo_tokens.unrevoked_tokens(user).live()


def require_full(principal: Principal) -> None:
    """Require the default token or a browser: a named token may allow less, and must not make one that allows more."""
    credential = principal.credential
    if credential is None or not (
        credential.kind == Credential.Kind.BROWSER_SESSION
        or (credential.kind == Credential.Kind.CARGO_TOKEN and credential.name == Credential.DEFAULT_NAME)
    ):
        raise PermissionDenied("Only the default token, or a browser, lists, creates and revokes tokens.")

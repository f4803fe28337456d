"""A user's authenticators: list, add and remove them. The first makes recovery codes, and the last ends them."""

from django.db import transaction

from accounts import roles
from accounts.models import Authenticator, Credential, RecoveryCode, User
from accounts.principals import Principal
from accounts.scopes import Scope
from accounts.second_factor import apps, codes, proofs, recovery_codes
from registry_site import audit
from registry_site.encryption import decrypt, encrypt
from registry_site.errors import Conflict, Invalid, NotFound

MAX_NAME_LENGTH = 64
MAX_KEY_LENGTH = 1400  # of the columns for the id and the public key of a passkey
LIMITS = {Authenticator.Kind.APP: 5, Authenticator.Kind.PASSKEY: 20}


def list_authenticators(principal: Principal) -> list[Authenticator]:
    """Return the authenticators, the oldest first, without their secrets; raises `PermissionDenied`."""
    principal.require(Scope.ACCOUNT)
    return list(principal.user.authenticators.defer("secret", "credential_id", "public_key", "transports"))


def kinds_of(user: User) -> set[str]:
    """Return the kinds of the user's authenticators."""
    return set(user.authenticators.order_by().values_list("kind", flat=True).distinct())


def add_app(principal: Principal, name: str, sealed: str, code: str) -> list[str]:
    """Add an authenticator app by its first code; return the recovery codes that it makes, if it is the first factor.

    Raises `ConfirmationRequired`, `Invalid` for the name, the code and the form, and `Conflict` for too many or the
    same.
    """
    require_may_add(principal, name)
    secret = apps.unseal(principal.user, sealed)
    text = recovery_codes.bare(code)
    step = apps.matching_step(secret, text) if codes.APP_CODE.fullmatch(text) else None
    if step is None:
        raise Invalid(
            "This is not the code that the app shows now. If it stays so, set the clock of your phone.",
            code="code_mismatch",
        )
    encrypted = encrypt(apps.PURPOSE, secret)  # before the transaction, which other writers wait for
    with transaction.atomic():
        principal.revalidate_and_lock()
        for other in principal.user.authenticators.filter(kind=Authenticator.Kind.APP):
            if decrypt(apps.PURPOSE, other.secret) == secret:
                raise Conflict("This app is added already: see the list.", code="sent_before")
        return insert(principal, Authenticator(kind=Authenticator.Kind.APP, secret=encrypted, last_step=step), name)


def require_may_add(principal: Principal, name: str) -> None:
    """Raise `PermissionDenied`, `ConfirmationRequired`, or `Invalid` for a name that is blank or does not show."""
    principal.require(Scope.ACCOUNT)
    proofs.require_recent(principal, always=True)
    if not name.strip() or len(name) > MAX_NAME_LENGTH or not name.isprintable():
        raise Invalid(f"Give it a name of 1 to {MAX_NAME_LENGTH} characters that show.", code="authenticator_name")


def insert(principal: Principal, authenticator: Authenticator, name: str) -> list[str]:
    """Insert a row, and return new recovery codes if it is the user's first one.

    The caller has locked the user's row. Raises `Conflict` for too many.
    """
    user = principal.user
    is_first = not proofs.has_second_factor(user)
    kind = Authenticator.Kind(authenticator.kind)
    if user.authenticators.filter(kind=kind).count() >= LIMITS[kind]:
        raise Conflict(f"You have {LIMITS[kind]} of these; remove one first.", code="too_many_authenticators")
    authenticator.user, authenticator.name = user, name
    authenticator.save(force_insert=True)
    audit.record(user, audit.Action.SECOND_FACTOR_ADD, user, kind=kind.label, name=name)
    if not is_first:
        return []
    # Sessions that only the password has opened must prove themselves before changes.
    others = user.credentials.filter(kind=Credential.Kind.BROWSER_SESSION)
    if principal.credential is not None:
        others = others.exclude(pk=principal.credential.pk)
    others.update(proven_at=None)
    return recovery_codes.make(user, first=True)


def remove(principal: Principal, key: int) -> Authenticator:
    """Remove an authenticator, and return it; with the last one, the recovery codes end.

    Raises `ConfirmationRequired`, and `NotFound` for one that is not the principal's.
    """
    principal.require(Scope.ACCOUNT)
    proofs.require_recent(principal)
    user = principal.user
    with transaction.atomic():
        principal.revalidate_and_lock()
        authenticator = user.authenticators.filter(pk=key).first()
        if authenticator is None:
            raise NotFound("You have none of this id; it may be removed already.")
        kind, name = authenticator.get_kind_display(), authenticator.name
        authenticator.delete()
        if not proofs.has_second_factor(user):
            RecoveryCode.objects.filter(user=user).delete()
        audit.record(user, audit.Action.SECOND_FACTOR_REMOVE, user, kind=kind, name=name)
    return authenticator


def make_recovery_codes(principal: Principal, newest: int) -> list[str]:
    """Make new recovery codes, which end the former ones, and return them; `newest` is what the form carries.

    Raises `ConfirmationRequired`, and `Conflict` without a second factor, or for a form that is sent again.
    """
    principal.require(Scope.ACCOUNT)
    proofs.require_recent(principal)
    with transaction.atomic():
        principal.revalidate_and_lock()
        if not proofs.has_second_factor(principal.user):
            raise Conflict("Recovery codes replace a second factor: add one first.", code="no_second_factor")
        if newest != recovery_codes.newest_key(principal.user):
            raise Conflict(
                "This form was sent before, or a code was used meanwhile. To make new codes, send it again.",
                code="sent_before",
            )
        return recovery_codes.make(principal.user)


def reset(user: User, *, actor: User | None) -> int:
    """Remove the second factor of a user who has lost it; return how many authenticators that were.

    The password alone signs in from then on. Raises `PermissionDenied` to staff without rank over the account.
    """
    roles.require_may_act_on(actor, user)
    with transaction.atomic():
        User.objects.select_for_update(no_key=True).get(pk=user.pk)
        removed, _ = Authenticator.objects.filter(user=user).delete()
        RecoveryCode.objects.filter(user=user).delete()
        if removed:
            audit.record(actor, audit.Action.SECOND_FACTOR_RESET, user, removed=removed)
    return removed

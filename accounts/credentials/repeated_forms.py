"""Forms that make a secret which is shown once: a reload sends the form again, and must not make another."""

from django.db.models import Max

from accounts.models import Credential, User
from registry_site.errors import Conflict


def newest_key(user: User, kind: Credential.Kind) -> int:
    """Return the primary key of the user's newest credential of a kind, or 0. A form carries it."""
    return Credential.objects.filter(user=user, kind=kind).aggregate(newest=Max("pk"))["newest"] or 0


def require_first(user: User, kind: Credential.Kind, newest: int | None) -> None:
    """Raise `Conflict` if a credential was made since a form was opened; None stands for no form.

    The caller has locked the user's row, so that the second of two clicks waits here for the first.
    """
    if newest is not None and newest != newest_key(user, kind):
        raise Conflict(
            f"This form was sent before, or another {kind.label} was made since it was opened: see the list. "
            "To make one more, send the form again.",
            code="sent_before",
        )

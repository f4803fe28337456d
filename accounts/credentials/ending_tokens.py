"""Cargo tokens that end soon. Their users get word once, a week before; a token for less than that needs none."""

from typing import Any

from django.db import transaction
from django.db.models import F
from django.dispatch import receiver
from django.utils import timezone

from accounts.models import ENDS_SOON, Credential, CredentialQuerySet, good_standing
from accounts.signals import token_ending
from registry_site.logs import log_event
from registry_site.signals import hour_passed, purge_requested

BATCH_SIZE = 100


def ending_tokens() -> CredentialQuerySet:
    """Return the live tokens of open accounts that end within a week, and whose users have no word of it yet."""
    now = timezone.now()
    return Credential.objects.of_kind(Credential.Kind.CARGO_TOKEN).filter(
        good_standing("user__"),
        revoked_at=None,
        end_announced_at=None,
        expires_at__gt=now,
        expires_at__lte=now + ENDS_SOON,
        created_at__lt=F("expires_at") - ENDS_SOON,
    )


def announce_ending_tokens() -> int:
    """Send `token_ending` for each token that ends soon, once; return how many those are.

    Any thread or command may call it at any time: of two at once, each takes other tokens.
    """
    announced = 0
    while batch := _announce_batch():
        announced += batch
    return announced


def _announce_batch() -> int:
    with transaction.atomic():
        free = ending_tokens().select_for_update(skip_locked=True, of=("self",), no_key=True)
        tokens = list(free.select_related("user").order_by("pk")[:BATCH_SIZE])
        Credential.objects.filter(pk__in=[token.pk for token in tokens]).update(end_announced_at=timezone.now())
        for token in tokens:
            token_ending.send(sender=Credential, token=token)
            log_event("token_ends_soon", user=token.user.username, token=token.name, ends=str(token.expires_at))
    return len(tokens)


@receiver([purge_requested, hour_passed])
def announce(**kwargs: Any) -> str:
    """Announce the ends of tokens."""
    return f"{announce_ending_tokens()} tokens end soon, of which their users get word now."

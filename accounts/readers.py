"""Readers: credentials that a permission has let pass, as workers keep them to answer requests without a thread.

Nothing is decided here but where a client may come from: a reader counts until its credential or its user changes.
"""

import time
from collections.abc import Collection

from django.http import HttpRequest

from accounts.credentials import last_uses
from accounts.models import Credential, User
from accounts.principals import CREDENTIAL_TABLES, Principal
from registry_site.http.client_address import resolve_client_ip
from registry_site.memory_cache import Tag
from registry_site.server import response_cache

SECONDS_BETWEEN_USES = 60  # each is stored only if the row has none of the last hour

response_cache.readers.tables = CREDENTIAL_TABLES


class CredentialReader:
    """A live credential of a user in good standing, for which a permission has said yes."""

    def __init__(self, access: str, user: User, credential: Credential) -> None:
        self.access, self.user, self.credential_id = access, user, credential.pk
        self.tags: Collection[Tag] = (("credential", credential.digest), ("user", str(user.pk)))
        self.good_until = credential.expires_at.timestamp() if credential.expires_at else None
        self.next_use = 0.0

    def admits(self, peer: str, forwarded_for: bytes) -> bool:
        return not self.user.allowed_networks or self.user.is_allowed_from(address_of(peer, forwarded_for))

    def record_use(self, peer: str, forwarded_for: bytes) -> None:
        now = time.monotonic()
        if now >= self.next_use:
            self.next_use = now + SECONDS_BETWEEN_USES
            last_uses.pending.record_key(self.credential_id, address_of(peer, forwarded_for))


def address_of(peer: str, forwarded_for: bytes) -> str | None:
    return resolve_client_ip(peer, forwarded_for.decode("latin-1"))


def note(request: HttpRequest, access: str, principal: Principal) -> None:
    """Note that a permission has let the principal of a request pass; `access` names it."""
    if principal.credential is not None:
        response_cache.note_reader(request, CredentialReader(access, principal.user, principal.credential))

"""Last uses of credentials, to the hour."""

from accounts.models import Credential
from accounts.principals import Principal
from registry_site.last_uses import LastUses

pending = LastUses(Credential, "last_used_at", "last_used_ip")


def record(principal: Principal) -> Principal:
    """Record that the credential of a principal is used now, and return the principal."""
    if principal.credential is not None:
        pending.record(principal.credential)
    return principal

"""Credentials among the texts that staff look up, and the way to that page."""

from collections.abc import Iterator, Sequence

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from accounts.credentials import recognition
from accounts.models import Credential, User
from registry_site.admin import front_page, site_pages, whose_token
from registry_site.admin.address_links import link_to_address
from registry_site.admin.object_pages import Fact, link_to
from registry_site.admin.whose_token import Match, add, buttons_for

VIEW_CREDENTIALS = "accounts.view_credential"

site_pages.page("whose-token/", "whose_token", VIEW_CREDENTIALS)(whose_token.page_view)


@add(Credential)
def recognize_credentials(request: HttpRequest, parts: Sequence[str]) -> Iterator[Match]:
    for credential in recognition.recognize(parts):
        reason = why_not_live(credential)
        yield Match(
            credential.title,
            credential.user,
            list(facts_of(credential, reason)),
            is_live=not reason,
            buttons=() if credential.is_revoked else buttons_for(request, credential),
        )


def why_not_live(credential: Credential) -> str:
    """Return why a credential opens nothing, or an empty text."""
    if credential.revoked_at is not None:
        return f"revoked on {credential.revoked_at:%Y-%m-%d %H:%M} UTC"
    if credential.expires_at is not None and credential.expires_at <= timezone.now():
        return f"ended on {credential.expires_at:%Y-%m-%d %H:%M} UTC"
    if not User.objects.in_good_standing().filter(pk=credential.user_id).exists():
        return "its user is closed or banned, or refused by the provider"
    return ""


def facts_of(credential: Credential, reason: str) -> Iterator[Fact]:
    yield Fact("Standing", f"Opens nothing: {reason}." if reason else "Live", "good" if reason else "bad")
    yield Fact("User", link_to(credential.user))
    yield Fact("Kind", credential.get_kind_display())
    yield Fact("Name", credential.name)
    yield Fact("Scopes", " ".join(credential.scopes))
    yield Fact("Crates", " ".join(credential.crate_patterns) or "all of its user")
    yield Fact("Addresses", credential.user.allowed_networks or "all")
    yield Fact("Made", credential.created_at)
    yield Fact("Made from", link_to_address(credential.ip_address))
    yield Fact("Ends", credential.expires_at or "never")
    yield Fact("Last used", credential.last_used_at or "not known to be used")
    yield Fact("Last used from", link_to_address(credential.last_used_ip))


@front_page.add(VIEW_CREDENTIALS, "Accounts")
def way_to_whose_token() -> Iterator[front_page.Fact]:
    yield front_page.Fact("A token that somebody found", "Whose token is this?", reverse("admin:whose_token"))

"""Sessions of machines among the texts that staff look up."""

from collections.abc import Iterator, Sequence

from django.http import HttpRequest

from files.models import Session
from registry_site.admin.address_links import link_to_address
from registry_site.admin.object_pages import Fact, link_to
from registry_site.admin.whose_token import Match, add, buttons_for
from registry_site.encoding import token_digest


@add(Session)
def recognize_sessions(request: HttpRequest, parts: Sequence[str]) -> Iterator[Match]:
    sessions = Session.objects.select_related("client").filter(digest__in=[token_digest(part) for part in parts])
    for session in sessions:
        standing = "Live" if session.is_live else "Opens nothing: it has ended, or its machine is disabled."
        facts = [
            Fact("Standing", standing, "bad" if session.is_live else "good"),
            Fact("Machine", link_to(session.client)),
            Fact("Rights", session.client.get_rights_display()),
            Fact("Made", session.created_at),
            Fact("Made from", link_to_address(session.peer)),
            Fact("Ends", session.expires_at),
            Fact("Ended", session.ended_at),
        ]
        buttons = buttons_for(request, session) if session.is_live else ()
        yield Match("session", session.client, facts, is_live=session.is_live, buttons=buttons)

"""Recognition of texts that somebody has found: which credentials they are, of whatever kind.

Only digests are stored, so a text is compared by its own.
"""

import re
from collections.abc import Sequence

from django.contrib.sessions.models import Session

from accounts.credentials.browser_sessions import DIGEST_KEY
from accounts.models import Credential
from registry_site.encoding import token_digest

SESSION_KEY = re.compile(r"[a-z0-9]{32}")  # of Django, in the cookie of a browser


def recognize(parts: Sequence[str]) -> list[Credential]:
    """Return the credentials that any of some texts is: a token, the id of an app key, the cookie of a browser."""
    digests = [token_digest(part) for part in parts]
    keys = [part for part in parts if SESSION_KEY.fullmatch(part)]
    cookies = Session.objects.filter(session_key__in=keys) if keys else ()
    digests += filter(None, (session.get_decoded().get(DIGEST_KEY) for session in cookies))
    rows = Credential.objects.select_related("user").defer("secret")
    return list(rows.filter(digest__in=digests).order_by("pk"))

"""What pages of other sites may not bring about in the browser of somebody who is signed in here.

The browser says itself who asks, by fetch metadata (https://www.w3.org/TR/fetch-metadata/). A client that sends none is
no browser, or an old one, of which `Origin` and `Referer` are looked at.
"""

from django.conf import settings
from django.http import HttpRequest

from registry_site.errors import PermissionDenied

FOREIGN = ("cross-site", "same-site")
REFUSAL = "This must not be asked for by the page of another site."


def own_origins(request: HttpRequest) -> tuple[str, ...]:
    """Of our own pages; where the public address has TLS, a page that came without it can be by anybody on the way."""
    tls_only = settings.PUBLIC_URL.startswith("https:") and not request.is_secure()
    return (settings.PUBLIC_URL,) if tls_only else (settings.PUBLIC_URL, f"{request.scheme}://{request.get_host()}")


def is_same_origin(request: HttpRequest) -> bool:
    """Did the user ask, or one of our own pages?"""
    here = own_origins(request)
    if (origin := request.headers.get("Origin")) is not None:
        return origin in here
    if site := request.headers.get("Sec-Fetch-Site"):
        return site not in FOREIGN
    referer = request.headers.get("Referer", settings.PUBLIC_URL)
    return referer in here or referer.startswith(tuple(f"{site}/" for site in here))


def require_same_origin(request: HttpRequest) -> None:
    """For what changes something; raises `PermissionDenied`."""
    if not is_same_origin(request):
        raise PermissionDenied(REFUSAL, code="other_site")


def require_top_level_navigation(request: HttpRequest) -> None:
    """For what shows a secret: another site may link to it, and not frame or fetch it. Raises `PermissionDenied`."""
    goes_there = (
        request.headers.get("Sec-Fetch-Mode") == "navigate" and request.headers.get("Sec-Fetch-Dest") == "document"
    )
    if request.headers.get("Sec-Fetch-Site") in FOREIGN and not goes_there:
        raise PermissionDenied(REFUSAL, code="other_site")

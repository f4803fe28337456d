"""Protection against pages of other sites that act or read in the browser of a signed-in user.

Browsers tell by fetch metadata which page sent a request (https://www.w3.org/TR/fetch-metadata/). A client without
them is no browser, or an old one: then `Origin` and `Referer` count.
"""

from posixpath import normpath
from urllib.parse import unquote, urlsplit

from django.conf import settings
from django.http import HttpRequest
from django.utils.http import url_has_allowed_host_and_scheme

from registry_site.errors import PermissionDenied
from registry_site.http.request_log import annotate
from registry_site.origins import origin_of

FOREIGN_SITES = ("cross-site", "same-site")  # a sibling domain can belong to somebody else
PAGE_HEADERS = ("Origin", "Sec-Fetch-Site", "Referer")
CHANGING_PATHS = ("/replace_token", "/logout")  # by GET, as documented
REFUSAL = "This must not be asked for by the page of another site."


def own_origins(request: HttpRequest) -> tuple[str, ...]:
    """Return the origins of our own pages: the registry's names, and the host of the request."""
    named = (settings.PUBLIC_URL, *settings.ALSO_KNOWN_AS)
    # Anybody on the way can forge a page that came without TLS: behind a public URL with TLS it is not ours.
    if settings.PUBLIC_URL.startswith("https:") and not request.is_secure():
        return tuple(origin for origin in named if origin.startswith("https:"))
    return (*named, origin_of(f"{request.scheme}://{request.get_host()}"))


def is_own(request: HttpRequest, url: str) -> bool:
    """Return whether a URL, or an origin, is of our own pages; `null` is not."""
    try:
        return origin_of(url) in own_origins(request)
    except ValueError:
        return False


def is_same_origin(request: HttpRequest) -> bool:
    """Return whether the user or a page of ours sent the request."""
    if (origin := request.headers.get("Origin")) is not None:
        return is_own(request, origin)
    if site := request.headers.get("Sec-Fetch-Site"):
        return site not in FOREIGN_SITES
    return is_own(request, request.headers.get("Referer", settings.PUBLIC_URL))


def is_sent_by_own_page(request: HttpRequest) -> bool:
    """Return whether the browser states that a page of ours sent the request. Scripts cannot forge these headers."""
    if (origin := request.headers.get("Origin")) is not None:  # the more exact of the two: it counts first
        return is_own(request, origin)
    return request.headers.get("Sec-Fetch-Site") == "same-origin"


def is_sent_by_program(request: HttpRequest) -> bool:
    """Return whether no page can have sent the request: with a change, a browser sends one of these headers."""
    return not any(header in request.headers for header in PAGE_HEADERS)


def next_path(request: HttpRequest, default: str) -> str:
    """Return the path in `?next=` if it leads to a page of ours, or else the default.

    Somebody may have made the link: it must not lead to another site, nor do anything by leading there.
    """
    target = request.GET.get("next", "")
    is_ours = target.startswith("/") and url_has_allowed_host_and_scheme(target, allowed_hosts=None)
    # Browsers drop `..`, and the URL map reads `%72` as `r`.
    return target if is_ours and normpath(unquote(urlsplit(target).path)) not in CHANGING_PATHS else default


def require_same_origin(request: HttpRequest) -> None:
    """Protect a change. Raises `PermissionDenied`."""
    if not is_same_origin(request):
        annotate(event="refused")  # some changes are a GET, as documented: their refusals are no refused reads
        raise PermissionDenied(REFUSAL, code="other_site")


def require_top_level_navigation(request: HttpRequest) -> None:
    """Protect a secret: another site may link to it, but not frame or fetch it. Raises `PermissionDenied`."""
    mode, destination = request.headers.get("Sec-Fetch-Mode"), request.headers.get("Sec-Fetch-Dest")
    is_navigation = mode == "navigate" and destination == "document"
    if request.headers.get("Sec-Fetch-Site") in FOREIGN_SITES and not is_navigation:
        raise PermissionDenied(REFUSAL, code="other_site")

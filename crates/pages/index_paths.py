"""Ways from addresses of the index to the pages of crates."""

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.views.decorators.http import require_safe

from crates import names
from registry_site import visitors
from registry_site.errors import NotFound


@require_safe
def from_index(request: HttpRequest, path: str) -> HttpResponse:
    """`GET /index/{name}`, to which bots link people"""
    return _redirect(request, "crate", path)


@require_safe
def from_mirror_index(request: HttpRequest, path: str) -> HttpResponse:
    """`GET /mirror/index/{name}`"""
    return _redirect(request, "mirrored-crate", path)


def _redirect(request: HttpRequest, page: str, path: str) -> HttpResponse:
    visitors.require_reader(request)
    match = names.MISSPELT_INDEX_PATH.fullmatch(path)
    if match is None:
        raise NotFound("There is no such crate in this index.")
    return HttpResponseRedirect(reverse(page, args=[match[1]]))

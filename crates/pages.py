"""Web pages of crates, and the way to them from addresses of the index."""

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from accounts.credentials import browser_sessions
from crates import names, ownership
from crates.models import VersionContents
from registry_site.errors import NotFound

MAX_VERSIONS = 50  # on one page; the index has all


@require_safe
def crate(request: HttpRequest, name: str) -> HttpResponse:
    """`GET /crates/{name}`"""
    browser_sessions.require_reader(request)
    crate = ownership.get_crate(name)
    version = crate.default_version
    readme = VersionContents.objects.filter(version=version).only("readme_html").first()
    versions = crate.versions.only("crate", "number", "published_at", "yanked", "yank_message")[:MAX_VERSIONS]
    context = {"crate": crate, "version": version, "readme": readme, "versions": versions}
    return render(request, "crates/crate.html", context)


@require_safe
def from_index(request: HttpRequest, path: str) -> HttpResponse:
    """`GET /index/{name}`, to which bots link people"""
    return _redirect(request, "crate", path)


@require_safe
def from_mirror_index(request: HttpRequest, path: str) -> HttpResponse:
    """`GET /mirror/index/{name}`"""
    return _redirect(request, "mirrored-crate", path)


def _redirect(request: HttpRequest, page: str, path: str) -> HttpResponse:
    browser_sessions.require_reader(request)
    match = names.MISSPELT_INDEX_PATH.fullmatch(path)
    if match is None:
        raise NotFound("There is no such crate in this index.")
    return HttpResponseRedirect(reverse(page, args=[match[1]]))

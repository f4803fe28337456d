"""Web page of a mirrored crate: why cargo does not choose some of its versions."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from accounts.credentials import browser_sessions
from crates.mirror import overview
from registry_site.errors import Unauthenticated


@require_safe
def crate(request: HttpRequest, name: str) -> HttpResponse:
    """`GET /mirror/crates/{name}`, in a browser"""
    if settings.AUTH_REQUIRED and browser_sessions.get_principal(request) is None:
        raise Unauthenticated("This registry shows its crates only to those who have signed in.")
    index_file, versions = overview.describe_crate(name)
    return render(request, "crates/mirror_crate.html", {"index_file": index_file, "versions": versions})

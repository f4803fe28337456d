"""Web page of a mirrored crate: why cargo does not choose some of its versions."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from accounts.credentials import browser_sessions
from crates.mirror import overview


@require_safe
def crate(request: HttpRequest, name: str) -> HttpResponse:
    """`GET /mirror/crates/{name}`, in a browser"""
    browser_sessions.require_reader(request)
    index_file, versions = overview.describe_crate(name)
    return render(request, "crates/mirror_crate.html", {"index_file": index_file, "versions": versions})

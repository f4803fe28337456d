"""What a person sees of their account."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe


@require_safe
def me(request: HttpRequest) -> HttpResponse:
    """`GET /me` in a browser: the address that `cargo login` prints."""
    return render(request, "me.html", {"public_url": settings.PUBLIC_URL, "signup_open": settings.SIGNUP_OPEN})

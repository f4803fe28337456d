"""The home page."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from registry_site.cargo_config import cargo_config


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    context = {"public_url": settings.PUBLIC_URL, "cargo_config": cargo_config(), "signup_open": settings.SIGNUP_OPEN}
    return render(request, "home.html", context)

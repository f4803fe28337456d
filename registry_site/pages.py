"""The home page."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from registry_site.cargo_config import cargo_config, mirror_config


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """`GET /` of a browser"""
    context = {
        "cargo_config": cargo_config(),
        "mirror_config": mirror_config(),
        "issuer": settings.OIDC_ISSUER if settings.OIDC_LOGIN else "",
        "password_login": settings.PASSWORD_LOGIN,
    }
    return render(request, "registry_site/home.html", context)

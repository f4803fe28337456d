"""The map: which app answers where."""

from django.contrib import admin
from django.urls import include, path

from registry_site import fallback, health, pages

urlpatterns = [
    path("", pages.home),
    path("admin/", admin.site.urls),
    path("health", health.health),
    path("", include("accounts.urls")),
    path("", include("crates.urls")),
]

handler400 = fallback.bad_request
handler403 = fallback.permission_denied
handler404 = fallback.not_found
handler500 = fallback.server_error

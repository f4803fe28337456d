"""The map: which app answers where."""

from django.contrib import admin
from django.urls import include, path
from drf_spectacular.views import SpectacularSwaggerSplitView

from registry_site import fallback, health, metrics, openapi

urlpatterns = [
    path("admin/", admin.site.urls),
    path("health", health.health),
    path("metrics", metrics.metrics),
    path("openapi.json", openapi.description, name="openapi"),
    path("docs/api", SpectacularSwaggerSplitView.as_view(url_name="openapi", template_name="docs_api.html")),
    path("", include("accounts.urls")),
    path("", include("crates.urls")),
    path("", include("namespaces.urls")),
    path("", include("packages.urls")),
    path("", include("files.urls")),
]

handler400 = fallback.bad_request
handler403 = fallback.permission_denied
handler404 = fallback.not_found
handler500 = fallback.server_error

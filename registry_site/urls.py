"""The URL map: which app serves which paths."""

from django.contrib import admin
from django.urls import include, path

from registry_site import pages
from registry_site.http import api_docs, error_handlers
from registry_site.server import health, metrics

urlpatterns = [
    path("admin/", admin.site.urls),
    path("health", health.health),
    path("ready", health.health),
    path("metrics", metrics.metrics),
    path("openapi.json", api_docs.Description.as_view(), name="openapi"),
    path("docs/api", api_docs.Page.as_view()),
    path("search", pages.search, name="search"),
    path("", include("accounts.urls")),
    path("", include("crates.urls")),
    path("", include("namespaces.urls")),
    path("", include("packages.urls")),
    path("", include("files.urls")),  # last: the path of a file is a bare number
]

handler400 = error_handlers.bad_request
handler403 = error_handlers.permission_denied
handler404 = error_handlers.not_found
handler500 = error_handlers.server_error

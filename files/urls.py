"""URLs of files. They are included last, because a file's own URL is a number at the root."""

from django.urls import path

from files.api import outernet
from registry_site import pages
from registry_site.http.negotiation import by_accept

urlpatterns = [
    path("auth", outernet.Handshake.as_view({"post": "begin"})),
    path("auth_verify", outernet.Handshake.as_view({"post": "verify"})),
    path("", by_accept(page=pages.home, api=outernet.Files.as_view({"get": "search", "post": "add"}))),
    path("<int:file_id>", outernet.Files.as_view({"get": "download", "put": "update", "delete": "destroy"})),
]

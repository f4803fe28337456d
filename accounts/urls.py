"""The doors of accounts, one table per dialect."""

from django.urls import path

from accounts import pages
from accounts.api import ktra
from registry_site.negotiation import by_accept

urlpatterns = [
    # Ktra
    path("ktra/api/v1/new_user/<str:user_name>", ktra.KtraUsers.as_view({"post": "new_user"})),
    path("ktra/api/v1/login/<str:user_name>", ktra.KtraUsers.as_view({"post": "login"})),
    path("ktra/api/v1/change_password/<str:user_name>", ktra.KtraUsers.as_view({"post": "change_password"})),
    path("me", by_accept(page=pages.me, api=ktra.Me.as_view({"get": "retrieve"}))),
]

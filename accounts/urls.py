"""The doors of accounts, one table per dialect."""

from django.urls import path

from accounts import pages
from accounts.api import backups, ktra, torrust, yapkg
from registry_site.negotiation import by_accept

urlpatterns = [
    # Ktra
    path("ktra/api/v1/new_user/<str:user_name>", ktra.KtraUsers.as_view({"post": "new_user"})),
    path("ktra/api/v1/login/<str:user_name>", ktra.KtraUsers.as_view({"post": "login"})),
    path("ktra/api/v1/change_password/<str:user_name>", ktra.KtraUsers.as_view({"post": "change_password"})),
    path("me", by_accept(page=pages.me, api=ktra.Me.as_view({"get": "retrieve"}))),
    # backup-repository
    path("api/stable/auth/login", backups.BackupsLogin.as_view({"post": "log_in"})),
    path(
        "api/stable/auth/refresh_token", backups.BackupsSessions.as_view({"get": "refresh"}, http_method_names=["get"])
    ),
    path("api/stable/auth/user/<str:name>", backups.BackupsUsers.as_view({"get": "retrieve"})),
    path("api/stable/auth/whoami", backups.BackupsUsers.as_view({"get": "whoami"})),
    path(
        "api/stable/auth/logout",
        backups.BackupsSessions.as_view(
            {"get": "log_out", "post": "log_out", "delete": "log_out"}, http_method_names=["get", "post", "delete"]
        ),
    ),
    path("api/stable/auth/token", backups.BackupsSessions.as_view({"get": "granted"})),
    # torrust
    path("v1/user/register", torrust.TorrustUsers.as_view({"post": "register"})),
    path("v1/user/email/verify/<str:token>", torrust.TorrustUsers.as_view({"get": "verify_email"})),
    path("v1/user/login", torrust.TorrustUsers.as_view({"post": "log_in"})),
    path("v1/user/token/verify", torrust.TorrustVerification.as_view({"post": "verify_token"})),
    path("v1/user/token/renew", torrust.TorrustUsers.as_view({"post": "renew_token"})),
    path("v1/user/ban/<str:name>", torrust.TorrustBans.as_view({"delete": "ban"})),
    path("v1/user/<str:name>/change-password", torrust.TorrustPasswords.as_view({"post": "change"})),
    # yapkg
    path("register", yapkg.YapkgRegistration.as_view({"post": "register"})),
    path("login", yapkg.YapkgLogin.as_view({"post": "log_in"})),
    path("logout", yapkg.YapkgLogin.as_view({"get": "log_out", "post": "log_out"}, http_method_names=["get", "post"])),
    path("users/<str:name>", yapkg.YapkgUsers.as_view({"get": "retrieve"})),
    path("settings/profile", yapkg.YapkgSettings.as_view({"patch": "change_profile"})),
    path("settings/appids", yapkg.YapkgSettings.as_view({"get": "list_keys", "post": "create_key"})),
    path("settings/appids/<str:appid>", yapkg.YapkgSettings.as_view({"delete": "delete_key"})),
]

"""URLs of accounts, one table per dialect. `REGISTRY_LOGIN` decides which ways to log in exist."""

from django.conf import settings
from django.urls import path

from accounts.api import backups, ktra, torrust, yapkg
from accounts.oidc import flow
from accounts.pages import (
    account,
    app_keys,
    default_token,
    identities,
    notifications,
    password_reset,
    security,
    sessions,
    sign_in,
    sign_up,
    tokens,
)
from registry_site.http.negotiation import by_accept
from registry_site.http.url_groups import grouped

WITH_PASSWORD = [
    path("ktra/api/v1/new_user/<str:user_name>", ktra.KtraUsers.as_view({"post": "new_user"})),
    path("ktra/api/v1/login/<str:user_name>", ktra.KtraUsers.as_view({"post": "login"})),
    path("ktra/api/v1/change_password/<str:user_name>", ktra.KtraUsers.as_view({"post": "change_password"})),
    path("api/stable/auth/login", backups.BackupsLogin.as_view({"post": "log_in"})),
    path("v1/user/register", torrust.TorrustUsers.as_view({"post": "register"})),
    path("v1/user/login", torrust.TorrustUsers.as_view({"post": "log_in"})),
    path("v1/user/<str:name>/change-password", torrust.TorrustPasswords.as_view({"post": "change"})),
    path("register", by_accept(page=sign_up.to_sign_up, api=yapkg.YapkgRegistration.as_view({"post": "register"}))),
    path("login", by_accept(page=sign_in.to_sign_in, api=yapkg.YapkgLogin.as_view({"post": "log_in"}))),
]

CALLBACK = flow.CallbackView.as_view(finish=sign_in.signed_in)
REPLACE_TOKEN = ktra.Replacement.as_view({"get": "replace", "post": "replace"}, http_method_names=["get", "post"])
WITH_PROVIDER = [
    path("ktra/api/v1/openid/me", CALLBACK, name=settings.OIDC_AUTHENTICATION_CALLBACK_URL),
    path("ktra/api/v1/openid/replace", CALLBACK),
    path("ktra/api/v1/openid/replace_token", CALLBACK),
    path("openid/sign-in", sign_in.sign_in_at_provider),
    path("openid/link", identities.link_identity),
]

# Not served, but their paths stay reserved and in their dialect: see registry_site.http.url_map.
switched_off = [
    *(WITH_PASSWORD if not settings.PASSWORD_LOGIN else []),
    *(WITH_PROVIDER if not settings.OIDC_LOGIN else []),
]

ROUTES = [
    *(WITH_PASSWORD if settings.PASSWORD_LOGIN else []),
    *(WITH_PROVIDER if settings.OIDC_LOGIN else []),
    # Pages
    path("sign-in", sign_in.sign_in),
    path("sign-in/code", sign_in.second_factor),
    path("sign-out", sign_in.sign_out),
    path("sign-up", sign_up.sign_up),
    path("password-reset", password_reset.request_link),
    path("password-reset/<str:token>", password_reset.new_password),
    path("account", account.profile),
    path("account/tokens", tokens.tokens),
    path("account/tokens/new", tokens.new_token),
    path("account/app-keys", app_keys.own_app_keys),
    path("account/security", security.security),
    path("account/security/app", security.new_app),
    path("account/security/passkey", security.new_passkey),
    path("account/security/recovery-codes", security.new_recovery_codes),
    path("account/confirm", security.confirm),
    path("account/name", account.name),
    path("account/email", account.email),
    path("account/avatar", account.avatar),
    path("account/password", account.password),
    path("account/close", account.close),
    path("account/sessions", sessions.sessions),
    path("account/identities", identities.list_identities),
    path("account/notifications", notifications.choices),
    path("account/events", sessions.events),
    path("unsubscribe/<str:token>", notifications.unsubscribe),
    path("me", by_accept(page=default_token.me, api=ktra.Me.as_view({"get": "retrieve"}))),
    # The page signs in at the provider, and shows the token afterwards.
    path(
        "replace_token",
        by_accept(page=default_token.replace_token, api=REPLACE_TOKEN, methods=("GET", "POST"))
        if settings.OIDC_LOGIN
        else REPLACE_TOKEN,
    ),
    # backup-repository
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
    path(
        "v1/user/email/verify/<str:token>",
        by_accept(
            page=sign_up.verify_email,
            api=torrust.TorrustEmailLinks.as_view({"get": "verify_email"}),
            methods=("GET", "HEAD", "POST"),
        ),
    ),
    path("v1/user/token/verify", torrust.TorrustVerification.as_view({"post": "verify_token"})),
    path("v1/user/token/renew", torrust.TorrustUsers.as_view({"post": "renew_token"})),
    path("v1/user/ban/<str:name>", torrust.TorrustBans.as_view({"delete": "ban"})),
    # yapkg
    path("logout", yapkg.YapkgLogin.as_view({"get": "log_out", "post": "log_out"}, http_method_names=["get", "post"])),
    path("users/<str:name>", yapkg.YapkgUsers.as_view({"get": "retrieve"})),
    path("settings/profile", yapkg.YapkgSettings.as_view({"patch": "change_profile"})),
    path("settings/appids", yapkg.YapkgSettings.as_view({"get": "list_keys", "post": "create_key"})),
    path("settings/appids/<str:appid>", yapkg.YapkgSettings.as_view({"delete": "delete_key"})),
]

urlpatterns = grouped(ROUTES)

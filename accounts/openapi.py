"""Security schemes of the OpenAPI description: one for each authenticator."""

from typing import Any

from django.conf import settings
from drf_spectacular.extensions import OpenApiAuthenticationExtension


class CargoTokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # registers itself
    target_class = "accounts.authentication.CargoTokenAuthentication"
    name = "cargo-token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "apiKey", "in": "header", "name": "Authorization", "description": "The token, bare."}


class BackupsSessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "accounts.authentication.BackupsSessionAuthentication"
    name = "backup-repository-session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}


class TorrustSessionScheme(BackupsSessionScheme):  # type: ignore[no-untyped-call]
    target_class = "accounts.authentication.TorrustSessionAuthentication"
    name = "torrust-session"


class AppKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "accounts.authentication.AppKeyAuthentication"
    name = "app-key"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        description = "appid:signature:timestamp:random:body, the last four in URL-safe base64."
        return {"type": "apiKey", "in": "header", "name": "Token", "description": description}


class BrowserSessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "accounts.authentication.BrowserSessionAuthentication"
    name = "browser-session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "apiKey", "in": "cookie", "name": settings.SESSION_COOKIE_NAME}

"""The OpenAPI description of a client's session."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension


class SessionTokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # registers itself
    target_class = "files.authentication.SessionToken"
    name = "file-session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        description = "Also as a field of a form, or after `Bearer` in `Authorization`."
        return {"type": "apiKey", "in": "query", "name": "session_token", "description": description}

"""The WSGI application."""

import os
from typing import Any

from django.core.exceptions import TooManyFieldsSent
from django.core.handlers.wsgi import WSGIRequest
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "registry_site.settings")


class Request(WSGIRequest):
    """A request, also with a charset that Django fails at while it begins one; `http.charsets` refuses it later."""

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        try:
            super()._set_content_type_params(meta)  # type: ignore[misc]  # not in the stubs
        except (LookupError, ValueError, TooManyFieldsSent):  # the last is what Django makes of any failure to decode
            self.content_type, self.content_params = "", {"charset": "undefined"}
            self._encoding = None


application = get_wsgi_application()
application.request_class = Request

"""The header `Content-Security-Policy`, which says what pages may load."""

from functools import cache

from csp.constants import HEADER
from csp.middleware import CSPMiddleware
from csp.utils import build_policy
from django.http import HttpRequest, HttpResponseBase

MARK = "_csp"  # begins what django-csp's decorators and its nonce leave at a response or a request


class ContentSecurityMiddleware(CSPMiddleware):
    """django-csp's middleware, which builds the policy of the settings once, and not twice for each response."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        if any(name.startswith(MARK) for name in (*vars(request), *vars(response))):
            return super().process_response(request, response)
        response.headers.setdefault(HEADER, policy())
        return response


@cache
def policy() -> str:
    return build_policy()

"""The rate limit of handshakes."""

from datetime import timedelta

from django.conf import settings
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from registry_site.http import client_address
from registry_site.rate_limits import RateLimit


class HandshakeThrottle(BaseThrottle):
    """The limit of challenges and answers that one network may send in a minute; raises `TooManyRequests`."""

    def allow_request(self, request: Request, view: APIView) -> bool:
        RateLimit(
            "file-handshakes",
            settings.FILE_HANDSHAKES_PER_MINUTE,
            timedelta(minutes=1),
            "Request was throttled. Expected available in {seconds} seconds.",
            is_exact=True,
        ).count(client_address.client_network())
        return True

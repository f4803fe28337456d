"""How often one network may ask for challenges and answer them."""

from django.conf import settings
from rest_framework.request import Request
from rest_framework.throttling import SimpleRateThrottle
from rest_framework.views import APIView

from registry_site.http import client_address


class Handshakes(SimpleRateThrottle):
    """Requests of the last minute, counted by each worker for itself."""

    def get_rate(self) -> str:
        return f"{settings.FILE_HANDSHAKES_PER_MINUTE}/minute"

    def get_cache_key(self, request: Request, view: APIView) -> str:
        peer = client_address.client_ip()
        return f"file-handshakes-{client_address.network_of(peer) if peer else 'unknown'}"

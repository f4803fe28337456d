"""How often one network may ask for challenges and answer them."""

from django.conf import settings
from rest_framework.request import Request
from rest_framework.throttling import SimpleRateThrottle
from rest_framework.views import APIView

from registry_site import peers


class Handshakes(SimpleRateThrottle):
    """Requests of the last minute, counted by each worker for itself."""

    def get_rate(self) -> str:
        return f"{settings.FILE_HANDSHAKES}/minute"

    def get_cache_key(self, request: Request, view: APIView) -> str:
        peer = peers.current()
        return f"file-handshakes-{peers.network(peer) if peer else 'unknown'}"

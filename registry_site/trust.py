"""Authorities that the registry trusts when it asks other servers: those of the system, and the operator's own."""

import ssl

from django.conf import settings


def client_context() -> ssl.SSLContext:
    """Return the context of a TLS connection to another server; `REGISTRY_CA_FILE` counts beside the system's."""
    context = ssl.create_default_context()
    if settings.CA_FILE:
        context.load_verify_locations(settings.CA_FILE)
    return context

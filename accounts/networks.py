"""Networks: the addresses from which an account may be used."""

import ipaddress

from django.core.exceptions import ValidationError


def validate_networks(text: str) -> None:
    """Check addresses and networks in CIDR form, separated by blanks. Raises Django's `ValidationError`."""
    for part in text.split():
        try:
            ipaddress.ip_network(part, strict=False)
        except ValueError as error:
            raise ValidationError(f"{part!r} is no address and no network such as 192.0.2.0/24.") from error

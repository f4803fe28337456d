"""E-mail addresses: what one may be, and how it is kept."""

from django.core.exceptions import ValidationError
from django.core.validators import EmailValidator
from django.utils.encoding import punycode

from registry_site.errors import Invalid

MAX_LENGTH = 254  # RFC 5321
validate_email = EmailValidator(allowlist=[])  # the default takes names of hosts without a domain


def normalize(address: str) -> str:
    """The address in ASCII, so that every database sees two that are the same as one; raises `Invalid`.

    A domain of other letters becomes its punycode; of a local part with other letters nobody knows the case.
    """
    local, _, domain = address.rpartition("@")  # a quoted local part is another spelling of a plain one
    try:
        normal = f"{local}@{punycode(domain).lower()}"
        if len(normal) > MAX_LENGTH or '"' in local or not normal.isascii() or not normal.isprintable():
            raise ValidationError("too long, or with other characters")
        validate_email(normal)
    except (ValidationError, UnicodeError) as error:
        raise Invalid(f"The e-mail address is not valid: {address[:80]!r}.", code="email_invalid") from error
    return normal

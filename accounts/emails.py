"""E-mail addresses: their syntax and the normal form in which they are stored."""

from django.core.exceptions import ValidationError
from django.core.validators import EmailValidator
from django.utils.encoding import punycode

from registry_site.errors import Conflict, Invalid

MAX_LENGTH = 254  # RFC 5321
validate_email = EmailValidator(allowlist=[])  # by default, Django allows `localhost` as a domain


def normalize(address: str) -> str:
    """Return the address in ASCII, with the domain in lower case and punycode; raises `Invalid`.

    SQLite and PostgreSQL lower only ASCII alike, so other local parts are refused: one address could be stored twice.
    """
    local, _, domain = address.rpartition("@")
    try:
        normal = f"{local}@{punycode(domain).lower()}"
        # A quoted local part, `"a"@b.c`, is another spelling of a plain one.
        if len(normal) > MAX_LENGTH or '"' in local or not normal.isascii() or not normal.isprintable():
            raise ValidationError("too long, or with other characters")
        validate_email(normal)
    except (ValidationError, UnicodeError) as error:
        raise Invalid(f"The e-mail address is not valid: {address[:80]!r}.", code="email_invalid") from error
    return normal


def mailbox_of(address: str) -> str:
    """Return the mailbox that takes mails to an address: many servers ignore case and what follows a plus sign."""
    local, _, domain = address.lower().rpartition("@")
    return f"{local.partition('+')[0] or local}@{domain}"


def taken(address: str) -> Conflict:
    """Return the error for an address that another account has."""
    return Conflict(f"The address {address} belongs to an account already.", code="email_taken")

"""Authenticator apps: their secrets, and the codes that these show (TOTP, RFC 6238).

django-otp works the codes out. Its models are not used: they store secrets and recovery codes in clear text.
"""

import base64
import secrets
from urllib.parse import quote, urlencode, urlsplit

from cryptography.fernet import InvalidToken
from django.conf import settings
from django.utils import timezone
from django_otp.oath import TOTP

from accounts.models import Authenticator, User
from registry_site.encryption import decrypt, fernet
from registry_site.errors import Invalid

PURPOSE = "authenticator apps"
SETUP_PURPOSE = "setup of authenticator apps"
SETUP_SECONDS = 3600
SETUP_ENDED = "This form has grown old: remove the entry from your app, and begin again."
SECRET_BYTES = 20  # as RFC 4226 recommends
TOLERANCE = 1  # steps of half a minute that the clock of the app may be early or late


def new_secret() -> str:
    """Return a new secret in base32, as apps take it."""
    return base64.b32encode(secrets.token_bytes(SECRET_BYTES)).decode("ascii")


def setup_url(user: User, secret: str) -> str:
    """Return the address that apps read from the QR code, and under which they list the account."""
    issuer = urlsplit(settings.PUBLIC_URL).netloc
    label = quote(f"{issuer}:{user.username}")
    return f"otpauth://totp/{label}?{urlencode({'secret': secret, 'issuer': issuer}, quote_via=quote)}"


def qr_code(url: str) -> str:
    """Return the QR code of an address as SVG, dark on light also in dark mode: cameras need that."""
    import segno  # late: workers seldom need it

    svg: str = segno.make(url, error="m").svg_inline(scale=5, border=3, light="#fff", omitsize=True)
    return svg


def matching_step(secret: str, code: str, after: int = 0) -> int | None:
    """Return the time step of a code of six digits, or None if it fits to none that follows `after`."""
    totp = TOTP(base64.b32decode(secret))
    totp.time = timezone.now().timestamp()
    return int(totp.t()) if totp.verify(int(code), TOLERANCE, min_t=after + 1) else None


def use_code(user: User, code: str) -> bool:
    """Use a code of one of the user's apps up; return whether it was one.

    The step is stored by one statement with a condition: of many requests with the same code, one alone succeeds.
    """
    for app in user.authenticators.filter(kind=Authenticator.Kind.APP):
        step = matching_step(decrypt(PURPOSE, app.secret), code, app.last_step)
        unused = Authenticator.objects.filter(pk=app.pk, last_step__lt=step or 0)
        if step is not None and unused.update(last_step=step, last_used_at=timezone.now()):
            return True
    return False


def seal(user: User, secret: str) -> str:
    """Encrypt the secret of an app that is being added, for the form that its first code comes back with."""
    return fernet(SETUP_PURPOSE).encrypt(f"{user.pk} {secret}".encode()).decode("ascii")


def unseal(user: User, sealed: str) -> str:
    """Return the secret in a form of this user. Raises `Invalid` for one of another user, a forged and an old one."""
    try:
        text = fernet(SETUP_PURPOSE).decrypt(sealed.encode(errors="replace"), ttl=SETUP_SECONDS).decode()
    except InvalidToken as error:
        raise Invalid(SETUP_ENDED, code="setup_ended") from error
    owner, _, secret = text.partition(" ")
    if owner != str(user.pk):
        raise Invalid(SETUP_ENDED, code="setup_ended")
    return secret

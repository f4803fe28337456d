"""An authenticator app of a user, as a phone has it: it knows the secret, and shows the code of a time."""

import base64

from django.utils import timezone
from django_otp.oath import TOTP

from accounts.models import Authenticator, RecoveryCode, User
from accounts.principals import Principal
from accounts.second_factor import apps, authenticators


class PhoneApp:
    def __init__(self, secret: str = "") -> None:
        self.secret = secret or apps.new_secret()

    def code(self, steps: int = 0) -> str:
        """Return the code that the app shows, or the one that it shows some half minutes later."""
        totp = TOTP(base64.b32decode(self.secret.replace(" ", "")))
        totp.time = timezone.now().timestamp() + 30 * steps
        return f"{totp.token():06}"

    def wrong_code(self) -> str:
        """Return six digits that are none of the codes of these minutes."""
        near = {self.code(steps) for steps in range(-3, 4)}
        return next(code for code in ("000000", "111111", "222222", "333333", "444444") if code not in near)


def add_app(user: User, name: str = "Phone") -> tuple[PhoneApp, list[str]]:
    """Add an app to a user; return it, and the recovery codes that this makes. Its next code counts."""
    app = PhoneApp()
    codes = authenticators.add_app(Principal(user), name, apps.seal(user, app.secret), app.code())
    Authenticator.objects.filter(user=user).update(last_step=0)  # as half a minute later
    return app, codes


def count_rows(user: User) -> tuple[int, int]:
    """Return how many authenticators and recovery codes a user has."""
    return Authenticator.objects.filter(user=user).count(), RecoveryCode.objects.filter(user=user).count()

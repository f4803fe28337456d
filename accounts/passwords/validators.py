"""Validators of new passwords, for `AUTH_PASSWORD_VALIDATORS`."""

import unicodedata
from typing import Any

from django.core.exceptions import ValidationError

from accounts.passwords.opaque_strings import prepare


class LengthValidator:
    """Accept `minimum` to `maximum` characters; the maximum keeps huge input away from the hasher."""

    def __init__(self, minimum: int, maximum: int) -> None:
        self.minimum = minimum
        self.maximum = maximum

    def validate(self, password: str, user: Any = None) -> None:
        # A composed letter has at most four parts. Longer input is too long in any form, and slow to compose.
        length = len(password) if len(password) > 4 * self.maximum else len(prepare(password))
        if not self.minimum <= length <= self.maximum:
            raise ValidationError(
                f"Use {self.minimum} to {self.maximum} characters; the password has {length}.",
                code="password_too_short" if length < self.minimum else "password_too_long",
            )

    def get_help_text(self) -> str:
        return f"Use {self.minimum} to {self.maximum} characters."


class ContentValidator:
    """Refuse blanks only, control characters, and the user's own name."""

    def validate(self, password: str, user: Any = None) -> None:
        if not password.strip() or any(unicodedata.category(character) in ("Cc", "Cs") for character in password):
            raise ValidationError("The password is blank or has control characters.", code="password_content")
        if user is not None and password.casefold() == user.get_username().casefold():
            raise ValidationError("The password is the user name.", code="password_is_name")

    def get_help_text(self) -> str:
        return "Do not use the user name, only blanks, or control characters."

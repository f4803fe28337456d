"""The errors of the domain, without HTTP: each dialect turns a class of errors into its own status."""

from typing import ClassVar


class RegistryError(Exception):
    """A refusal. Its message is a sentence for people: what is wrong, and what to do about it.

    `code` is for programs, and for dialects with a message of their own: finer than the class where that is needed.
    """

    default_code: ClassVar[str]

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code


class Invalid(RegistryError):
    """The input cannot be understood or is not allowed."""

    default_code = "invalid"


class ParseError(Invalid):
    """The input is not in its declared format."""


class Malformed(Invalid):
    """The input lacks documented fields, or has them with other types."""

    default_code = "malformed"


class TooLarge(Invalid):
    """The input is over a limit of size."""

    default_code = "too_large"


class Unauthenticated(RegistryError):
    """There is no credential, or it is unknown, expired, revoked or of a banned account."""

    default_code = "unauthenticated"


class Revoked(Unauthenticated):
    """The credential has the form of ours, but is not valid."""

    default_code = "revoked"


class WrongPassword(Unauthenticated):
    """The name and the password do not match. The message never tells which of the two is wrong."""

    default_code = "wrong_password"


class AccountClosed(WrongPassword):
    """The password is right, and the account must not be used. All but our own pages answer as to a wrong password."""

    def __init__(self, message: str, explanation: str, refusal: str) -> None:
        super().__init__(message)
        self.explanation = explanation
        self.refusal = refusal  # in a word, for staff


class WrongCode(Unauthenticated):
    """The code of the second factor is wrong, or was used before."""

    default_code = "wrong_code"


class PermissionDenied(RegistryError):
    """The principal is authenticated, and may not do this."""

    default_code = "denied"


class SecondFactorRequired(PermissionDenied):
    """The password is right, and the account has or needs a second factor as well."""

    default_code = "second_factor_required"


class ConfirmationRequired(PermissionDenied):
    """The session is signed in, but has not proven its user for long: the change needs a fresh proof."""

    default_code = "confirmation_required"


class NotFound(RegistryError):
    """The object does not exist, or the principal may not see it."""

    default_code = "missing"


class Lost(NotFound):
    """The object exists, but the storage does not have its bytes any more."""


class Gone(NotFound):
    """The object existed once, and never will again."""

    default_code = "gone"


class UnavailableForLegalReasons(NotFound):
    """The object exists, and must not be shown by law."""

    default_code = "withheld"


class Conflict(RegistryError):
    """The object exists already, or has changed meanwhile."""

    default_code = "conflict"


class RetryLater(RegistryError):
    """The request cannot be served at present; `retry_after` is in seconds."""

    default_code = "later"

    def __init__(self, message: str, retry_after: int, code: str = "") -> None:
        super().__init__(message, code)
        self.retry_after = retry_after


class TooManyRequests(RetryLater):
    """The client has reached a rate limit."""

    default_code = "too_many"


class Unavailable(RetryLater):
    """The database, the disk or another server does not answer."""

    default_code = "unavailable"

    def __init__(self, message: str, retry_after: int = 5, code: str = "") -> None:
        super().__init__(message, retry_after, code)


class UpstreamError(Unavailable):
    """Another server does not answer, or not as it should."""

    default_code = "upstream"

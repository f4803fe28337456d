"""What can go wrong, in the words of the domain. No HTTP here: each dialect turns a kind into its own status."""

from typing import ClassVar


class RegistryError(Exception):
    """A refusal with a sentence for the person who asked: what is wrong, and what to do about it.

    `code` tells programs what the sentence tells people, finer than the kind where a dialect has words of its own.
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
    """The input is not of the format that it is said to have."""


class Malformed(Invalid):
    """The input has not the documented fields, or not of their types."""

    default_code = "malformed"


class TooLarge(Invalid):
    """The input is over a limit of size."""

    default_code = "too_large"


class Unauthenticated(RegistryError):
    """Nobody is proven: no credential, or one that is unknown, expired, revoked or of a banned account."""

    default_code = "unauthenticated"


class Revoked(Unauthenticated):
    """The credential is one of ours by its form, and is not good now."""

    default_code = "revoked"


class WrongPassword(Unauthenticated):
    """The name and password do not belong together; never says which of the two is wrong."""

    default_code = "wrong_password"


class PermissionDenied(RegistryError):
    """Somebody is proven, and may not do this."""

    default_code = "denied"


class NotFound(RegistryError):
    """It does not exist, or may not be seen."""

    default_code = "missing"


class Gone(NotFound):
    """It was there, and never will be again."""

    default_code = "gone"


class UnavailableForLegalReasons(NotFound):
    """It is there, and must not be shown by law."""

    default_code = "withheld"


class Conflict(RegistryError):
    """It is there already, or has changed meanwhile."""

    default_code = "conflict"


class RetryLater(RegistryError):
    """Not now; `retry_after` is in seconds."""

    default_code = "later"

    def __init__(self, message: str, retry_after: int, code: str = "") -> None:
        super().__init__(message, code)
        self.retry_after = retry_after


class TooManyRequests(RetryLater):
    """Asked too often."""

    default_code = "too_many"


class Unavailable(RetryLater):
    """Something that is needed does not answer: the database, the disk, another server."""

    default_code = "unavailable"

    def __init__(self, message: str, retry_after: int = 5, code: str = "") -> None:
        super().__init__(message, retry_after, code)


class UpstreamError(Unavailable):
    """Another server that is needed does not answer, or not as it should."""

    default_code = "upstream"

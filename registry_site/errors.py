"""What can go wrong, in the words of the domain. No HTTP here: each dialect turns a kind into its own status."""


class RegistryError(Exception):
    """A refusal with a sentence for the person who asked: what is wrong, and what to do about it."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Invalid(RegistryError):
    """The input cannot be understood or is not allowed."""


class TooLarge(Invalid):
    """The input is over a limit of size."""


class Unauthenticated(RegistryError):
    """Nobody is proven: no credential, or one that is unknown, expired, revoked or of a banned account."""


class WrongPassword(Unauthenticated):
    """The name and password do not belong together; never says which of the two is wrong."""


class Denied(RegistryError):
    """Somebody is proven, and may not do this."""


class Missing(RegistryError):
    """It does not exist, or may not be seen."""


class Conflict(RegistryError):
    """It is there already, or has changed meanwhile."""


class Later(RegistryError):
    """Not now; `retry_after` is in seconds."""

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class TooMany(Later):
    """Asked too often."""


class Unavailable(Later):
    """Something that is needed does not answer: the database, the disk, another server."""

    def __init__(self, message: str, retry_after: int = 5) -> None:
        super().__init__(message, retry_after)

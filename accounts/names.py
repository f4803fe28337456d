"""Names of users: their syntax, the forms in which they are looked up and unique, and the reserved ones."""

import re

from registry_site.errors import Invalid
from registry_site.http import url_map

MAX_LENGTH = 255
# A dot stands between two others: a path has a meaning for `.` and `..`, and a sentence ends with a dot.
PATTERN = re.compile(r"(?=.*[A-Za-z0-9])[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")
LETTER_OR_DIGIT = re.compile(r"[A-Za-z0-9]")
NOT_IN_A_NICKNAME = re.compile(r"[^A-Za-z0-9._@+-]+")

# Words that could pass for the registry itself.
RESERVED_WORDS = frozenset({"admin", "administrator", "new", "registry", "root", "static", "support", "system"})

# Ktra's clients put this prefix before a user name; it names the same user with or without it.
KTRA_PREFIX = "ktra-secure-auth:"
MAX_LOGIN_LENGTH = len(KTRA_PREFIX) + MAX_LENGTH

SEPARATORS = re.compile(r"[._-]+")
LOOK_ALIKE_LETTERS = str.maketrans("0i", "o1") | str.maketrans("l", "1")


def canonical(name: str) -> str:
    """Return the form under which a name is looked up.

    Only ASCII is lowered: `str.lower` makes a plain `k` of the Kelvin sign, which would be a look-alike of a name.
    """
    return name.lower() if name.isascii() else name


def skeleton(name: str) -> str:
    """Return the form that two names share if they look alike. Only one of them can be taken.

    Equal are all letters and digits of ASCII that Unicode's confusables.txt (UTS #39) has as confusable: `0` and `O`,
    `1`, `I` and `l`, `rn` and `m`. Names are shown in the case in which they were taken, so `i` is `I`, and `o` is `O`;
    PyPI compares the names of projects in the same way. Runs of `.`, `-` and `_` are equal, as in PEP 503, but not
    nothing: `ab` and `a-b` read differently.

    A name is never looked up by this form: a typing error must not lead to the account of another person.
    """
    return SEPARATORS.sub("-", canonical(name)).replace("rn", "m").translate(LOOK_ALIKE_LETTERS)


def is_reserved(name: str) -> bool:
    """Return whether the name could pass for the registry itself, or is a word of its paths."""
    reserved_skeletons = {skeleton(word) for word in RESERVED_WORDS}
    return skeleton(name).strip("-") in reserved_skeletons or canonical(name) in url_map.reserved_segments()


def is_allowed(name: str) -> bool:
    """Return whether the name fits a local user."""
    return len(name) <= MAX_LENGTH and PATTERN.fullmatch(name) is not None


def validate(name: str) -> None:
    """Raise `Invalid` unless the name fits a local user."""
    if not is_allowed(name):
        raise Invalid(
            f"The user name {name[:80]!r} is not allowed: use 1 to {MAX_LENGTH} of A-Z, a-z, 0-9, -, _ and ., "
            "with at least one letter or digit, and dots only between two others.",
            code="name_invalid",
        )


def validate_for_signup(name: str) -> None:
    """Raise `Invalid` also for reserved names, which only an operator may give."""
    validate(name)
    if is_reserved(name):
        raise Invalid(f"The user name {name!r} is reserved; choose another.", code="name_invalid")


def strip_ktra_prefix(login: str) -> str:
    """Return `alice` for both `alice` and `ktra-secure-auth:alice`."""
    return login.removeprefix(KTRA_PREFIX)


def at_provider(host: str, nickname: str, subject: str) -> str:
    """Return the name of an account at an OpenID provider, `host:nickname`.

    Other characters become `-`. A nickname without any letter or digit falls back to the subject.
    """
    slugs = ("-".join(filter(None, NOT_IN_A_NICKNAME.split(text))) for text in (nickname, subject))
    return f"{host}:{next(filter(LETTER_OR_DIGIT.search, slugs), 'user')}"[:MAX_LENGTH]


def numbered(name: str, number: int) -> str:
    """Return the name for the account of this number among those that would have the same: `name-2` for the second."""
    suffix = "" if number == 1 else f"-{number}"
    return name[: MAX_LENGTH - len(suffix)] + suffix

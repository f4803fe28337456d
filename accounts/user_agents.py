"""Names of clients in their `User-Agent`, for people who look at their sessions. Pure."""

import re

MAX_KIND_LENGTH = 40

# The first that matches counts: many browsers name others, too.
PROGRAMS = (
    (r"Edg(?:e|A|iOS)?/", "Edge"),
    (r"OPR/", "Opera"),
    (r"(?:Firefox|FxiOS)/", "Firefox"),
    (r"(?:Chrome|CriOS|Chromium)/", "Chrome"),
    (r"Version/[0-9.]+.* Safari/", "Safari"),
)
SYSTEMS = (
    (r"iPhone", "iPhone"),
    (r"iPad", "iPad"),
    (r"Android", "Android"),
    (r"CrOS", "ChromeOS"),
    (r"Windows", "Windows"),
    (r"Macintosh|Mac OS X", "macOS"),
    (r"Linux|X11", "Linux"),
)


def describe(user_agent: str) -> str:
    """Return such as `Firefox on Linux`, or the first word of another client; an empty text for none."""
    program = first_match(PROGRAMS, user_agent) or user_agent.partition(" ")[0]
    system = first_match(SYSTEMS, user_agent)
    return f"{program} on {system}" if program and system else program


def kind_of(user_agent: str) -> str:
    """Return the same without a version, and fit for a mail: clients send what they like."""
    kind = describe(user_agent).partition("/")[0][:MAX_KIND_LENGTH]
    return "".join(character if character.isprintable() else " " for character in kind).strip()


def first_match(names: tuple[tuple[str, str], ...], text: str) -> str:
    return next((name for pattern, name in names if re.search(pattern, text)), "")

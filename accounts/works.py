"""Works of a person: what the rooms above have of each, for the pages of people."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from accounts.models import User
from accounts.signals import works_wanted


@dataclass(frozen=True)
class Work:
    """Something that a person has made, with the address of its page."""

    name: str
    url: str
    description: str


@dataclass(frozen=True)
class Works:
    """Works of one kind; `has_more` tells that they are not all."""

    title: str
    entries: Sequence[Work]
    has_more: bool


def works_of(user: User, viewer: User | None) -> list[Works]:
    """Return the works of a person that a viewer may see, by kind; kinds without any are left out."""
    answers: list[tuple[Any, Any]] = works_wanted.send(sender=User, user=user, viewer=viewer)
    return [works for _, works in answers if works.entries]

"""Numbers, sizes, days and texts as pages write them. Lists have hundreds, and Django's own filters take longer."""

from datetime import UTC, datetime

from django import template
from django.utils.safestring import SafeString, mark_safe

from registry_site.bidirectional import mark_in_text

KILOBYTE = 1000
UNITS = ("kB", "MB", "GB", "TB")

register = template.Library()


@register.filter
def grouped(number: int) -> str:
    """Return a whole number with commas: `1,234`."""
    return f"{number:,}"


@register.filter
def counted(number: int, noun: str) -> str:
    """Return a number with its noun: `1 crate`, `1,234 crates`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


@register.filter
def shortened(text: str, length: int) -> str:
    """Return a text of at most so many characters, with an ellipsis for the rest."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


@register.filter
def size(number: int) -> str:
    """Return a number of bytes in a unit that leaves few digits: `12.3 kB`."""
    if number < KILOBYTE:
        return f"{number} B"
    power = 1
    while power < len(UNITS) and number >= KILOBYTE ** (power + 1):
        power += 1
    return f"{number / KILOBYTE**power:.1f} {UNITS[power - 1]}"


@register.filter
def day(moment: datetime) -> SafeString:
    """Return the element `<time>` with the day of a moment in UTC."""
    text = f"{moment.astimezone(UTC):%Y-%m-%d}"
    return mark_safe(f'<time datetime="{text}">{text}</time>')  # noqa: S308 - digits


@register.filter
def marked(text: object) -> SafeString:
    """Return a text that anybody may have chosen, with the characters that would change its order as their numbers."""
    return mark_in_text(str(text))

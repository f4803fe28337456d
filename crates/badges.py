"""Badges: a small picture with the version of a crate, for READMEs elsewhere. Pure."""

from django.template.loader import render_to_string

LABEL = "entrepot"
MAX_LENGTH = 40  # characters; what is longer ends in an ellipsis
CHARACTER_WIDTH, PADDING = 6.6, 8  # of Verdana at 11 pixels, digits and small letters on average
BLUE, ORANGE, GREY = "#0b6bb3", "#b0500a", "#5f6570"


def render(text: str, colour: str) -> str:
    """Return the SVG of a badge."""
    short = text if len(text) <= MAX_LENGTH else f"{text[: MAX_LENGTH - 1]}…"
    left, right = width_of(LABEL), width_of(short)
    context = {
        "label": LABEL,
        "text": short,
        "colour": colour,
        "left": left,
        "right": right,
        "width": left + right,
        "label_center": left / 2,
        "text_center": left + right / 2,
    }
    return render_to_string("crates/badge.svg", context)


def width_of(text: str) -> int:
    return round(len(text) * CHARACTER_WIDTH) + 2 * PADDING

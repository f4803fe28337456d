"""Roles as pages write them. A loop of the template for each row took half the time of a page."""

from functools import cache

from django import template
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from namespaces.models import Role

register = template.Library()


@register.filter
@cache
def options_of(givable: tuple[Role, ...], selected: str) -> SafeString:
    """Return the options of a `<select>` for roles that may be given."""
    rows = ((role.value, " selected" if role == selected else "", role.label) for role in givable)
    return format_html_join("", '<option value="{}"{}>{}</option>', rows)

"""The way from an address, wherever the admin site shows one, to the page of all that came from there."""

from collections.abc import Callable
from typing import Any

from django.db.models import GenericIPAddressField, Model
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString


def address_url(text: str) -> str:
    """Return the page of an address, or of a network."""
    return f"{reverse('admin:address')}?{urlencode({'of': text})}"


def link_to_address(address: str | None) -> SafeString | None:
    """Return an address that leads to its page; None for none."""
    return format_html('<a href="{}">{}</a>', address_url(address), address) if address else None


def linked(model: type[Model], column: Any) -> Any:
    """Return a column of a list as it is, or one of addresses as a column of links."""
    fields = {field.name: field for field in model._meta.concrete_fields}
    field = fields.get(column) if isinstance(column, str) else None
    return column_of_links(field) if isinstance(field, GenericIPAddressField) else column


def column_of_links(field: Any) -> Callable[[Model], SafeString | None]:
    def show(row: Any) -> SafeString | None:
        return link_to_address(getattr(row, field.name))

    show.__name__ = field.name
    show.short_description = field.verbose_name  # type: ignore[attr-defined]  # Django's way to name a column
    show.admin_order_field = field.name  # type: ignore[attr-defined]
    show.empty_value_display = "-"  # type: ignore[attr-defined]
    return show

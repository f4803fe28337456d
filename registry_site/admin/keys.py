"""Keys of rows that come from a client, checked before a query takes them."""

from collections.abc import Collection
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Model
from django.http import HttpRequest

from registry_site.errors import Invalid


def require_possible_key(model: Any, key: str) -> None:
    """Raise `Invalid` for text that can be the primary key of no row of a model."""
    try:
        model._meta.pk.clean(key, None)
    except ValidationError as error:
        raise Invalid("The selection names a row that no list has; select the rows again.") from error


def require_possible_keys(request: HttpRequest, model: type[Model], typed_fields: Collection[str]) -> None:
    """Check the keys that a form sends for the relations of a model, but those that are typed as names.

    Django fails on impossible keys.

    The names of fields in a table of the form begin with that of the table: `ownerships-0-user`.
    """
    relations = [field for field in model._meta.get_fields() if field.many_to_one or field.many_to_many]
    related: dict[str, Any] = {field.name: field.related_model for field in relations if field.concrete}
    for name, keys in request.POST.lists():
        column = name.rpartition("-")[2]
        is_key = column in related and column not in typed_fields
        for key in filter(None, keys if is_key else ()):
            require_possible_key(related[column], str(key))

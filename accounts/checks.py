"""The check of names that look alike, by `manage.py check --database default` and by the migration that marks them."""

from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import AppConfig
from django.core import checks
from django.db import DatabaseError
from django.db.models import F, OuterRef, Subquery
from django.db.models.functions import Coalesce

from accounts.models import NameReservation


@checks.register(checks.Tags.database)
def check_names(
    app_configs: Sequence[AppConfig] | None = None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[checks.CheckMessage]:
    """Return a warning for each name that looks like an older one."""
    if not databases:
        return []
    hint = "Both work as before. Let one of the two choose another name (PATCH /settings/profile)."
    try:
        return [checks.Warning(sentence, hint, id="accounts.W001") for sentence in list_look_alikes(NameReservation)]
    except DatabaseError:  # before the first migration
        return []


def list_look_alikes(model: Any) -> Iterator[str]:
    """Yield a sentence for each name that looks like an older one of another account.

    `model` is `NameReservation`, or its form in a migration.
    """
    reservations = model.objects.annotate(owner=Coalesce("user__pk", "former_user__pk"))
    oldest = reservations.filter(skeleton=OuterRef("skeleton")).order_by("pk")
    pairs = reservations.filter(is_look_alike=True).annotate(
        oldest_name=Subquery(oldest.values("name")[:1]), oldest_owner=Subquery(oldest.values("owner")[:1])
    )
    pairs = pairs.exclude(name=F("oldest_name")).order_by("skeleton", "pk")
    for name, owner, oldest_name, oldest_owner in pairs.values_list("name", "owner", "oldest_name", "oldest_owner"):
        if owner is None or owner != oldest_owner:
            yield f"The names {oldest_name!r} and {name!r} look alike."

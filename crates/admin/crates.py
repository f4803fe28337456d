"""Crates in the admin site."""

from collections.abc import Sequence
from functools import partial

from django.contrib import admin
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from accounts.models import User
from crates import dependents, removal
from crates.admin import crate_page
from crates.admin.owner_actions import OWNER_ACTIONS
from crates.admin.owner_mails import MAIL_OWNERS
from crates.admin.removable import RemovableAdmin, removal_actions
from crates.mirror import shared_names
from crates.models import Crate, Ownership, Version
from registry_site.admin.actions import StaffAction
from registry_site.admin.base import ReadOnlyAdmin
from registry_site.admin.lists import state_filter
from registry_site.admin.object_pages import Description, ObjectPage
from registry_site.templatetags.figures import counted


def set_served(crate: Crate, *, served: bool, actor: User) -> bool:
    """Let the mirror serve upstream's crate of a name, or never ask for it; return whether that changed it."""
    rows = Crate.with_removed.filter(pk=crate.pk)
    return shared_names.set_served(rows, served=served, actor=actor) > 0


def dependents_of_each(crates: Sequence[Crate]) -> dict[int, list[str]]:
    """Return how many crates of ours depend on each of these, with the way to them."""
    numbers = dependents.count_for_each(crates)
    return {crate.pk: [dependents_sentence(crate, numbers.get(crate.canonical_name, 0))] for crate in crates}


def dependents_sentence(crate: Crate, number: int) -> str:
    if not number:
        return "No crate of this registry depends on it."
    text = f"{counted(number, 'crate')} of this registry {'depends' if number == 1 else 'depend'} on it"
    return format_html('<a href="{}">{}</a>.', reverse("crate-dependents", args=[crate.name]), text)


@admin.register(Crate)
class CrateAdmin(ReadOnlyAdmin, ObjectPage, RemovableAdmin):
    list_display = (
        "name",
        "max_number",
        "version_count",
        "owner_names",
        "created_at",
        "upstream_value",
        "removed_at",
        "download_total",
    )
    list_filter = (
        "upstream",
        "created_at",
        ("max_version", state_filter("highest version", "none that is usable", "some version is usable")),
        ("removed_at", state_filter("state", "present", "removed")),
    )
    search_fields = ("name", "default_version__description")
    staff_actions = (
        *removal_actions(
            "crate",
            removal.remove_crate_as_staff,
            removal.restore_crate,
            removal.destroy_crate,
            may_restore=crate_page.may_restore,
            may_destroy=crate_page.may_destroy,
            effects=dependents_of_each,
        ),
        StaffAction(
            "serve_upstream",
            "Serve upstream's crates of these names",
            "crates.change_crate",
            partial(set_served, served=True),
            done="served",
            explanation="The mirror serves what upstream has under these names, beside our own crates.",
            undo="hide_upstream",
            applies=lambda crate: crate.upstream != Crate.Upstream.HAS,
        ),
        StaffAction(
            "hide_upstream",
            "Never ask upstream for these names",
            "crates.change_crate",
            partial(set_served, served=False),
            done="hidden",
            explanation="The mirror answers that there are no such crates, and never asks upstream for these names.",
            undo="serve_upstream",
            applies=lambda crate: crate.upstream != Crate.Upstream.LACKS,
        ),
        *OWNER_ACTIONS,
        MAIL_OWNERS,
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Crate]:
        large = (f"max_version__{column}" for column in Version.LARGE_COLUMNS)
        owners = Ownership.objects.filter(crate=OuterRef("pk")).order_by()
        crates: QuerySet[Crate] = super().get_queryset(request).select_related("max_version").defer(*large)
        return crates.annotate(
            first_owner=Subquery(owners.order_by("pk").values("user__username")[:1]),
            owner_number=Coalesce(Subquery(owners.values("crate").annotate(number=Count("pk")).values("number")), 0),
        )

    def get_page_queryset(self, request: HttpRequest) -> QuerySet[Crate]:
        return crate_page.page_queryset()

    def describe(self, request: HttpRequest, row: Crate) -> Description:
        return crate_page.CratePage(request, row).describe()

    def view_on_site(self, obj: Crate) -> str:
        return reverse("crate", args=[obj.name])

    @admin.display(description="upstream", ordering="upstream")
    def upstream_value(self, crate: Crate) -> str:
        return crate.upstream  # the column is too narrow for the label

    @admin.display(description="highest version", empty_value="none that is usable")
    def max_number(self, crate: Crate) -> str | None:
        return crate.max_version.number if crate.max_version else None

    @admin.display(description="owners")
    def owner_names(self, crate: Crate) -> str:
        number, first = getattr(crate, "owner_number", 0), getattr(crate, "first_owner", "")
        return f"{first} and {number - 1} more" if number > 1 else first or ""

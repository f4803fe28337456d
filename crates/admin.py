"""Admin of crates: staff yank versions, and remove, restore and destroy crates and versions."""

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.helpers import ActionForm
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts.admin import confirmed_staff, staff
from accounts.models import User
from crates import ownership, removal, reserved_names, yanking
from crates.mirror import shared_names
from crates.models import Crate, Ownership, ReservedName, Version
from registry_site.admin import CountedAdmin, DomainAdmin, ReadOnlyAdmin
from registry_site.errors import Invalid

# Large columns of the crate of a version or an owner.
LARGE_COLUMNS_OF_CRATE = tuple(f"crate__{column}" for column in Crate.LARGE_COLUMNS)


class ReasonForm(ActionForm):
    """The form above a list, with a reason for the actions that remove or destroy."""

    reason = forms.CharField(required=False, max_length=removal.MAX_REASON_LENGTH, label="Reason for a removal:")


class RemovableAdmin(CountedAdmin):
    """Rows that staff remove, with a reason, and restore; removed ones can be destroyed, which nobody can undo.

    Each row is changed in a transaction of its own, and the message counts those that were.
    """

    action_form = ReasonForm
    actions = ["remove", "restore", "destroy"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = self.model.with_removed.select_related("downloads", "removed_by")
        return rows.order_by(*(self.get_ordering(request) or ()))

    def has_act_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(f"crates.change_{self.opts.model_name}")

    @admin.action(description="Remove the selected %(verbose_name_plural)s, with a reason", permissions=["act"])
    def remove(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        reason = request.POST.get("reason", "")
        removal.require_reason(reason)
        removed = sum(self.remove_row(row, reason, actor=staff(request)) for row in queryset)
        self.message_user(request, f"{removed} removed; the others already were. The action Restore undoes it.")

    @admin.action(description="Restore the selected %(verbose_name_plural)s", permissions=["act"])
    def restore(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        restored = sum(self.restore_row(row, actor=staff(request)) for row in queryset)
        self.message_user(request, f"{restored} restored; the others are not removed.")

    @admin.action(
        description="Destroy the selected %(verbose_name_plural)s for good, once they are removed", permissions=["act"]
    )
    def destroy(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        reason = request.POST.get("reason", "")
        removal.require_reason(reason)
        actor = confirmed_staff(request)
        destroyed = sum(self.destroy_row(row, reason, actor=actor) for row in queryset)
        self.message_user(request, f"{destroyed} destroyed; the others are not removed, or are destroyed already.")

    def remove_row(self, row: Any, reason: str, *, actor: User) -> bool:
        raise NotImplementedError

    def restore_row(self, row: Any, *, actor: User) -> bool:
        raise NotImplementedError

    def destroy_row(self, row: Any, reason: str, *, actor: User) -> bool:
        raise NotImplementedError


class OwnerInline(admin.TabularInline):
    model = Ownership
    fk_name = "crate"
    extra = 0
    autocomplete_fields = ("user",)
    readonly_fields = ("added_by", "added_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Ownership]:
        ownerships = super().get_queryset(request).select_related("crate", "user", "added_by")
        return ownerships.defer(*LARGE_COLUMNS_OF_CRATE)


@admin.register(Crate)
class CrateAdmin(RemovableAdmin):
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
        ("max_version", admin.EmptyFieldListFilter),
        ("removed_at", admin.EmptyFieldListFilter),
    )
    search_fields = ("name", "default_version__description")
    inlines = [OwnerInline]
    actions = [*RemovableAdmin.actions, "serve_upstream", "hide_upstream"]
    fields = (
        "name",
        "max_number",
        "version_count",
        "created_at",
        "updated_at",
        "upstream",
        "index_path",
        "index_etag",
        "index_modified",
        "removed_at",
        "removed_by",
        "removal_reason",
    )

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Crate | None = None) -> Any:
        return self.fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Crate]:
        large = (*Crate.LARGE_COLUMNS, *(f"max_version__{column}" for column in Version.LARGE_COLUMNS))
        crates = super().get_queryset(request).select_related("max_version").defer(*large).prefetch_related("owners")
        without_large: QuerySet[Crate] = crates
        return without_large

    @admin.display(description="upstream", ordering="upstream")
    def upstream_value(self, crate: Crate) -> str:
        return crate.upstream  # the column is too narrow for the label

    @admin.action(description="Let the mirror serve upstream's crates of these names", permissions=["change"])
    def serve_upstream(self, request: HttpRequest, queryset: QuerySet[Crate]) -> None:
        self._set_served(request, queryset, served=True)

    @admin.action(description="Never ask upstream for these names", permissions=["change"])
    def hide_upstream(self, request: HttpRequest, queryset: QuerySet[Crate]) -> None:
        self._set_served(request, queryset, served=False)

    def _set_served(self, request: HttpRequest, queryset: QuerySet[Crate], *, served: bool) -> None:
        crates = Crate.with_removed.without_large_columns().filter(pk__in=queryset.values("pk"))
        changed = shared_names.set_served(crates, served=served, actor=staff(request))
        self.message_user(request, f"{changed} changed; the others were so before.")

    def remove_row(self, row: Crate, reason: str, *, actor: User) -> bool:
        return removal.remove_crate_as_staff(row, reason, actor=actor)

    def restore_row(self, row: Crate, *, actor: User) -> bool:
        return removal.restore_crate(row, actor=actor)

    def destroy_row(self, row: Crate, reason: str, *, actor: User) -> bool:
        return removal.destroy_crate(row, reason, actor=actor)

    @admin.display(description="highest version", empty_value="none that is usable")
    def max_number(self, crate: Crate) -> str | None:
        return crate.max_version.number if crate.max_version else None

    @admin.display(description="owners")
    def owner_names(self, crate: Crate) -> str:
        return ", ".join(user.username for user in crate.owners.all())

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        # The domain function saves, since it knows that the last owner has to stay; the formset only parses.
        actor = confirmed_staff(request)
        formset.save(commit=False)
        added = [row.user for row in formset.new_objects]
        removed = [row.user for row in formset.deleted_objects]
        ownership.change_as_staff(form.instance, added, removed, actor=actor)


@admin.register(Version)
class VersionAdmin(ReadOnlyAdmin, RemovableAdmin):
    list_display = ("crate", "number", "yanked", "size", "published_by", "published_at", "removed_at", "download_total")
    list_filter = (
        "yanked",
        "published_at",
        ("removed_at", admin.EmptyFieldListFilter),
        ("destroyed_at", admin.EmptyFieldListFilter),
    )
    search_fields = ("crate__name", "number", "checksum", "published_by__username")
    actions = ["yank", "unyank", *RemovableAdmin.actions]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Version]:
        versions = super().get_queryset(request).select_related("crate", "published_by")
        without_large: QuerySet[Version] = versions.defer(*Version.LARGE_COLUMNS, *LARGE_COLUMNS_OF_CRATE)
        return without_large

    def remove_row(self, row: Version, reason: str, *, actor: User) -> bool:
        return removal.remove_version(row, reason, actor=actor)

    def restore_row(self, row: Version, *, actor: User) -> bool:
        return removal.restore_version(row, actor=actor)

    def destroy_row(self, row: Version, reason: str, *, actor: User) -> bool:
        return removal.destroy_version(row, reason, actor=actor)

    @admin.action(description="Yank the selected versions", permissions=["act"])
    def yank(self, request: HttpRequest, queryset: QuerySet[Version]) -> None:
        self._set_yanked(request, queryset, yanked=True)

    @admin.action(description="Unyank the selected versions", permissions=["act"])
    def unyank(self, request: HttpRequest, queryset: QuerySet[Version]) -> None:
        self._set_yanked(request, queryset, yanked=False)

    def _set_yanked(self, request: HttpRequest, queryset: QuerySet[Version], *, yanked: bool) -> None:
        changed = sum(yanking.set_yanked_as_staff(v, yanked=yanked, actor=staff(request)) for v in queryset)
        self.message_user(request, f"{changed} {'yanked' if yanked else 'unyanked'}; the others were so before.")


@admin.register(Ownership)
class OwnershipAdmin(ReadOnlyAdmin):
    list_display = ("crate", "user", "added_by", "added_at")
    list_filter = ("added_at",)
    search_fields = ("crate__name", "user__username")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Ownership]:
        ownerships = super().get_queryset(request).select_related("crate", "user", "added_by")
        without_large: QuerySet[Ownership] = ownerships.defer(*LARGE_COLUMNS_OF_CRATE)
        return without_large


class ReservedNameForm(forms.ModelForm):
    def clean_pattern(self) -> str:
        try:
            return reserved_names.normalize(self.cleaned_data["pattern"])
        except Invalid as error:
            raise ValidationError(error.message) from error


@admin.register(ReservedName)
class ReservedNameAdmin(DomainAdmin):
    """A list of names that no new crate may have. They are added and released, but never changed."""

    list_display = ("pattern", "reason", "reserved_at", "reserved_by")
    list_filter = ("reserved_at",)
    search_fields = ("pattern", "reason")
    list_select_related = ("reserved_by",)
    actions = ["release"]
    form = ReservedNameForm
    fields = ("pattern", "reason")

    def has_change_permission(self, request: HttpRequest, obj: ReservedName | None = None) -> bool:
        return obj is None and bool(super().has_change_permission(request))

    def save_model(self, request: HttpRequest, obj: ReservedName, form: Any, change: bool) -> None:
        # The key of the row that the verb has created: the admin links to it.
        obj.pk = reserved_names.reserve(obj.pattern, obj.reason, actor=staff(request)).pk

    @admin.action(description="Release the selected names: everybody may publish them", permissions=["change"])
    def release(self, request: HttpRequest, queryset: QuerySet[ReservedName]) -> None:
        released = sum(reserved_names.release(reserved, actor=staff(request)) for reserved in queryset)
        self.message_user(request, f"{released} released.")

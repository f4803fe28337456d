"""Admin of the mirror: staff look at its caches and incidents, and block or exempt versions."""

from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ActionForm
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Func, IntegerField, OuterRef, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce, Length
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.utils import timezone
from django.utils.html import format_html_join

from accounts.admin.staff import staff
from crates import names
from crates.mirror import (
    front_page,
    incidents,
    index_cache,
    index_lines,
    maintenance,
    overrides,
    overview,
    policies,
    shared_names,
)
from crates.mirror.models import AllowedName, CachedCrate, CachedIndexFile, CrateDownloads, Incident, Override
from crates.package import requirements
from registry_site.admin.base import DomainAdmin, ReadOnlyAdmin
from registry_site.errors import Invalid

__all__ = ["front_page"]  # adds the mirror to the front page

NO_REASON = "in the admin site, without a reason"


class ReasonForm(ActionForm):
    """The form above a list, with a reason for the actions that block."""

    reason = forms.CharField(required=False, max_length=500, label="Reason for a block:")


def count_failures(subject: Any) -> Coalesce:
    """Return the number of unsettled failures of upstream with a subject, as an expression of a query."""
    # One subquery for the whole list. order_by() removes the default order, by which Django would group, too.
    unsettled = Incident.objects.filter(subject=subject, settled_at=None).order_by().values("subject")
    return Coalesce(Subquery(unsettled.annotate(total=Sum("count")).values("total")), 0, output_field=IntegerField())


class CountKeys(Func):
    """The number of keys of a JSON object, counted by the database."""

    template = "(SELECT COUNT(*) FROM json_each(%(expressions)s))"
    output_field = IntegerField()

    def as_postgresql(self, compiler: Any, connection: Any) -> Any:
        return self.as_sql(compiler, connection, template="(SELECT COUNT(*) FROM jsonb_object_keys(%(expressions)s))")


class MirrorAdmin(ReadOnlyAdmin):
    """A list of rows that are changed only by actions."""

    show_full_result_count = False  # counting a hundred thousand rows takes longer than showing a page of them

    def has_act_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(f"mirror.change_{self.opts.model_name}")

    def has_block_permission(self, request: HttpRequest) -> bool:
        return self.has_act_permission(request) and request.user.has_perm("mirror.add_override")

    @admin.display(description="size", ordering="size")
    def bytes(self, row: Any) -> str:
        return filesizeformat(row.size)

    @admin.display(description="failures", ordering="failures")
    def failed(self, row: Any) -> int:
        return int(row.failures)


class HeldBackFilter(admin.SimpleListFilter):
    """Mirrored crates of which policies or staff withhold some versions."""

    title = "held back"
    parameter_name = "held_back"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("age", "for their age"), ("blocked", "by staff")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[CachedIndexFile]) -> QuerySet[CachedIndexFile]:
        if self.value() == "age":
            youngest = policies.youngest_allowed()
            return queryset.filter(summary__updated_at__gt=youngest) if youngest else queryset.none()
        if self.value() == "blocked":
            blocked = Override.objects.active().filter(kind=Override.Kind.BLOCKED)
            return queryset.filter(summary__canonical_name__in=blocked.values("name"))
        return queryset


@admin.register(CachedIndexFile)
class CachedIndexFileAdmin(MirrorAdmin):
    list_display = (
        "name",
        "status",
        "upstream",
        "versions",
        "bytes",
        "failed",
        "changed_at",
        "checked_at",
        "downloads",
    )
    list_filter = ("status", HeldBackFilter, "changed_at", "checked_at")
    search_fields = ("name__startswith",)
    fields = ("name", "path", "status", "upstream", "etag", "changed_at", "checked_at", "held_back")
    actions = ["mark_stale", "accept_changes", "block"]
    action_form = ReasonForm

    def get_queryset(self, request: HttpRequest) -> QuerySet[CachedIndexFile]:
        # A body may have megabytes, and checksums a tenth of that, so let the database measure them.
        index_files: QuerySet[CachedIndexFile] = super().get_queryset(request).defer("body", "checksums")
        return index_files.annotate(
            size=Length("body"),
            version_total=CountKeys("checksums"),
            failures=count_failures(OuterRef("name")),
            download_total=Coalesce(Subquery(CrateDownloads.objects.filter(pk=OuterRef("name")).values("total")), 0),
        )

    @admin.display
    def versions(self, index_file: CachedIndexFile) -> int:
        return int(getattr(index_file, "version_total", 0))

    @admin.display(ordering="download_total")
    def downloads(self, index_file: CachedIndexFile) -> int:
        return int(getattr(index_file, "download_total", 0))

    @admin.display(description="held back")
    def held_back(self, index_file: CachedIndexFile) -> str:
        versions = overview.describe_versions(index_file)
        rows = ((version.line.version, version.quarantine_reason) for version in versions if version.quarantine_reason)
        return format_html_join("", "<p><strong>{}</strong>: {}</p>", rows) or "nothing"

    @admin.action(description="Ask upstream again at the next request", permissions=["act"])
    def mark_stale(self, request: HttpRequest, queryset: QuerySet[CachedIndexFile]) -> None:
        self.message_user(request, f"{index_cache.mark_stale(queryset, actor=staff(request))} will be asked for again.")

    @admin.action(description="Take the checksums that upstream has now", permissions=["act"])
    def accept_changes(self, request: HttpRequest, queryset: QuerySet[CachedIndexFile]) -> None:
        accepted = index_cache.forget_checksums(queryset, actor=staff(request))
        self.message_user(request, f"{accepted} will be taken as they are upstream.")

    @admin.action(description="Block the selected crates in all versions", permissions=["block"])
    def block(self, request: HttpRequest, queryset: QuerySet[CachedIndexFile]) -> None:
        for index_file in queryset:
            block(request, index_file.name, "*")
        self.message_user(request, f"{len(queryset)} blocked. To lift that, end the override.")


@admin.register(CachedCrate)
class CachedCrateAdmin(MirrorAdmin):
    list_display = ("name", "version", "license", "bytes", "upstream", "failed", "fetched_at", "last_used_at")
    list_filter = ("fetched_at", "last_used_at")
    search_fields = ("name__startswith", "sha256__startswith", "license")
    actions = ["delete_crates", "delete_and_block"]
    action_form = ReasonForm

    def get_queryset(self, request: HttpRequest) -> QuerySet[CachedCrate]:
        crates: QuerySet[CachedCrate] = super().get_queryset(request)
        return crates.annotate(failures=count_failures(OuterRef("name")))

    @admin.action(description="Delete the selected files; they are fetched again when asked for", permissions=["act"])
    def delete_crates(self, request: HttpRequest, queryset: QuerySet[CachedCrate]) -> None:
        deleted, failure = maintenance.delete_crates(queryset, actor=staff(request))
        self.message_user(request, f"{deleted} deleted.")
        if failure:
            self.message_user(request, f"The others are still here. {failure}", messages.ERROR)

    @admin.action(description="Delete the selected files, and block their versions", permissions=["block"])
    def delete_and_block(self, request: HttpRequest, queryset: QuerySet[CachedCrate]) -> None:
        with transaction.atomic():  # first, or a request could fetch a file again
            for crate in queryset:
                block(request, crate.name, f"={crate.version}")
        deleted, failure = maintenance.delete_crates(queryset, actor=staff(request))
        self.message_user(request, f"{len(queryset)} blocked, {deleted} deleted. To lift that, end the override.")
        if failure:
            self.message_user(request, f"Delete the others later: they are blocked, too. {failure}", messages.ERROR)


def block(request: HttpRequest, name: str, requirement: str) -> Override:
    """Block versions of a crate, with the reason in the form above the list; raises `Invalid`."""
    reason = request.POST.get("reason", "").strip() or NO_REASON
    return overrides.create_override(Override.Kind.BLOCKED, name, requirement, actor=staff(request), reason=reason)


class OverrideForm(forms.ModelForm):
    def clean_name(self) -> str:
        if not index_lines.NAME.fullmatch(self.cleaned_data["name"]):
            raise ValidationError("This is no name of a crate.")
        return str(self.cleaned_data["name"])

    def clean_requirement(self) -> str:
        try:
            return requirements.normalize(self.cleaned_data["requirement"])
        except Invalid as error:
            raise ValidationError(error.message) from error

    def clean_until(self) -> datetime | None:
        until: datetime | None = self.cleaned_data["until"]
        if until is not None and until <= timezone.now():
            raise ValidationError("Its end has passed already.")
        return until


@admin.register(Override)
class OverrideAdmin(DomainAdmin):
    """A list of overrides. They are added and ended here, but never changed: the audit log refers to them."""

    list_display = ("name", "requirement", "kind_value", "reason", "until", "created_at", "created_by", "ended_at")
    list_filter = ("kind", ("ended_at", admin.EmptyFieldListFilter), "created_at", "until")
    search_fields = ("name", "reason")
    list_select_related = ("created_by",)
    actions = ["end"]
    form = OverrideForm
    fields = ("kind", "name", "requirement", "reason", "until", "created_at", "created_by", "ended_at")
    readonly_fields = ("created_at", "created_by", "ended_at")

    @admin.display(description="kind", ordering="kind")
    def kind_value(self, override: Override) -> str:
        return override.kind  # the column is too narrow for the label

    def get_fields(self, request: HttpRequest, obj: Override | None = None) -> Any:
        return [field for field in self.fields if obj or field not in self.readonly_fields]

    def has_change_permission(self, request: HttpRequest, obj: Override | None = None) -> bool:
        return obj is None and bool(super().has_change_permission(request))

    def save_model(self, request: HttpRequest, obj: Override, form: Any, change: bool) -> None:
        override = overrides.create_override(
            Override.Kind(obj.kind),
            obj.name,
            obj.requirement,
            actor=staff(request),
            reason=obj.reason,
            until=obj.until,
        )
        obj.pk = override.pk  # of the row that the verb has created: the admin links to it

    @admin.action(description="End the selected overrides", permissions=["change"])
    def end(self, request: HttpRequest, queryset: QuerySet[Override]) -> None:
        ended = sum(overrides.end_override(override, actor=staff(request)) for override in queryset)
        self.message_user(request, f"{ended} ended; the others had ended before.")


@admin.register(Incident)
class IncidentAdmin(MirrorAdmin):
    list_display = ("subject", "kind", "detail", "count", "first_at", "last_at", "settled_at")
    list_filter = ("kind", ("settled_at", admin.EmptyFieldListFilter), "last_at")
    search_fields = ("subject",)
    actions = ["settle"]

    @admin.action(description="Mark the selected incidents as settled", permissions=["act"])
    def settle(self, request: HttpRequest, queryset: QuerySet[Incident]) -> None:
        self.message_user(request, f"{incidents.settle(queryset, actor=staff(request))} settled.")


class AllowedNameForm(forms.ModelForm):
    def clean_name(self) -> str:
        if not index_lines.NAME.fullmatch(self.cleaned_data["name"]):
            raise ValidationError("This is no name of a crate.")
        return names.canonical(self.cleaned_data["name"])


@admin.register(AllowedName)
class AllowedNameAdmin(DomainAdmin):
    """A list of names of upstream that accounts may publish here. They are added and withdrawn, but never changed."""

    list_display = ("name", "user", "allowed_at", "allowed_by")
    list_filter = ("allowed_at",)
    search_fields = ("name", "user__username")
    list_select_related = ("user", "allowed_by")
    autocomplete_fields = ("user",)
    actions = ["withdraw"]
    form = AllowedNameForm
    fields = ("name", "user")

    def has_change_permission(self, request: HttpRequest, obj: AllowedName | None = None) -> bool:
        return obj is None and bool(super().has_change_permission(request))

    def save_model(self, request: HttpRequest, obj: AllowedName, form: Any, change: bool) -> None:
        assert obj.user is not None  # noqa: S101 - the form needs one
        # The key of the row that the verb has created: the admin links to it.
        obj.pk = shared_names.allow(obj.name, obj.user, actor=staff(request)).pk

    @admin.action(description="Withdraw the selected names; crates of them stay", permissions=["change"])
    def withdraw(self, request: HttpRequest, queryset: QuerySet[AllowedName]) -> None:
        withdrawn = sum(shared_names.disallow(allowed, actor=staff(request)) for allowed in queryset)
        self.message_user(request, f"{withdrawn} withdrawn.")

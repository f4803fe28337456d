"""What staff see of the mirror, and decide about it."""

from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.helpers import ActionForm
from django.core.exceptions import ValidationError
from django.db.models import CharField, IntegerField, OuterRef, QuerySet, Subquery, Sum, Value
from django.db.models.functions import Coalesce, Concat, Length
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.utils import timezone
from django.utils.html import format_html_join

from accounts.admin import staff
from crates.mirror import incidents, index_cache, maintenance, overrides, overview
from crates.mirror.models import CachedCrate, CachedIndexFile, Incident, Override
from crates.package import requirements
from registry_site.admin import DomainAdmin, ReadOnlyAdmin
from registry_site.errors import Invalid

NO_REASON = "in the admin site, without a reason"


class ReasonForm(ActionForm):
    """Beside the choice of an action."""

    reason = forms.CharField(required=False, max_length=500, label="Reason for a block:")


def failures(subject: Any) -> Coalesce:
    """How often upstream failed with it, since staff last settled that."""
    open_ones = Incident.objects.filter(subject=subject, settled_at=None).order_by().values("subject")
    return Coalesce(Subquery(open_ones.annotate(total=Sum("count")).values("total")), 0, output_field=IntegerField())


class MirrorAdmin(ReadOnlyAdmin):
    """Rows that only their actions change."""

    show_full_result_count = False

    def has_decide_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(f"mirror.change_{self.opts.model_name}")

    def has_block_permission(self, request: HttpRequest) -> bool:
        return self.has_decide_permission(request) and request.user.has_perm("mirror.add_override")

    @admin.display(description="size", ordering="size")
    def bytes(self, row: Any) -> str:
        return filesizeformat(row.size)

    @admin.display(description="failures", ordering="failures")
    def failed(self, row: Any) -> int:
        return int(row.failures)


@admin.register(CachedIndexFile)
class CachedIndexFileAdmin(MirrorAdmin):
    list_display = ("name", "status", "upstream", "versions", "bytes", "failed", "changed_at", "checked_at")
    list_filter = ("status", "changed_at", "checked_at")
    search_fields = ("name__startswith",)
    fields = ("name", "path", "status", "upstream", "etag", "changed_at", "checked_at", "held_back")
    actions = ["ask_again", "accept_changes", "block"]
    action_form = ReasonForm

    def get_queryset(self, request: HttpRequest) -> QuerySet[CachedIndexFile]:
        listed = super().get_queryset(request).defer("body")
        counted: QuerySet[CachedIndexFile] = listed.annotate(size=Length("body"), failures=failures(OuterRef("name")))
        return counted

    @admin.display
    def versions(self, entry: CachedIndexFile) -> int:
        return len(entry.checksums)

    @admin.display(description="held back")
    def held_back(self, entry: CachedIndexFile) -> str:
        held = ((one.line.version, one.held_back) for one in overview.describe_versions(entry) if one.held_back)
        return format_html_join("", "<p><strong>{}</strong>: {}</p>", held) or "nothing"

    @admin.action(description="Ask upstream again at the next request", permissions=["decide"])
    def ask_again(self, request: HttpRequest, queryset: QuerySet[CachedIndexFile]) -> None:
        self.message_user(request, f"{index_cache.mark_stale(queryset)} will be asked for again.")

    @admin.action(description="Take the checksums that upstream has now", permissions=["decide"])
    def accept_changes(self, request: HttpRequest, queryset: QuerySet[CachedIndexFile]) -> None:
        self.message_user(request, f"{index_cache.forget_checksums(queryset)} will be taken as they are upstream.")

    @admin.action(description="Block the selected crates in all versions", permissions=["block"])
    def block(self, request: HttpRequest, queryset: QuerySet[CachedIndexFile]) -> None:
        for entry in queryset:
            block(request, entry.name, "*")
        self.message_user(request, f"{len(queryset)} blocked. To lift that, end the override.")


@admin.register(CachedCrate)
class CachedCrateAdmin(MirrorAdmin):
    list_display = ("name", "version", "license", "bytes", "upstream", "failed", "fetched_at", "last_used_at")
    list_filter = ("fetched_at", "last_used_at")
    search_fields = ("name__startswith", "sha256__startswith", "license")
    actions = ["remove", "remove_and_block"]
    action_form = ReasonForm

    def get_queryset(self, request: HttpRequest) -> QuerySet[CachedCrate]:
        subject = Concat(OuterRef("name"), Value("@"), OuterRef("version"), output_field=CharField())
        counted: QuerySet[CachedCrate] = super().get_queryset(request).annotate(failures=failures(subject))
        return counted

    @admin.action(
        description="Delete the selected files; they are fetched again when asked for", permissions=["decide"]
    )
    def remove(self, request: HttpRequest, queryset: QuerySet[CachedCrate]) -> None:
        for archive in queryset:
            maintenance.delete_crate(archive)
        self.message_user(request, f"{len(queryset)} deleted.")

    @admin.action(description="Delete the selected files, and block their versions", permissions=["block"])
    def remove_and_block(self, request: HttpRequest, queryset: QuerySet[CachedCrate]) -> None:
        for archive in queryset:
            block(request, archive.name, f"={archive.version}")
            maintenance.delete_crate(archive)
        self.message_user(request, f"{len(queryset)} deleted and blocked. To lift that, end the override.")


def block(request: HttpRequest, name: str, requirement: str) -> Override:
    """For the reason that stands beside the action."""
    reason = request.POST.get("reason", "").strip()
    return overrides.create_override(
        overrides.Kind.BLOCKED, name, requirement, actor=staff(request), reason=reason or NO_REASON
    )


class OverrideForm(forms.ModelForm):
    def clean_name(self) -> str:
        if not index_cache.NAME.fullmatch(self.cleaned_data["name"]):
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
    """Made here, and ended by an action; never changed."""

    list_display = ("name", "requirement", "decided", "reason", "until", "created_at", "created_by", "ended_at")
    list_filter = ("kind", ("ended_at", admin.EmptyFieldListFilter), "created_at", "until")
    search_fields = ("name", "reason")
    list_select_related = ("created_by",)
    actions = ["end"]
    form = OverrideForm
    fields = ("kind", "name", "requirement", "reason", "until", "created_at", "created_by", "ended_at")
    readonly_fields = ("created_at", "created_by", "ended_at")

    @admin.display(description="kind", ordering="kind")
    def decided(self, decision: Override) -> str:
        return decision.kind

    def get_fields(self, request: HttpRequest, obj: Override | None = None) -> Any:
        return [field for field in self.fields if obj or field not in self.readonly_fields]

    def has_change_permission(self, request: HttpRequest, obj: Override | None = None) -> bool:
        return obj is None and bool(super().has_change_permission(request))

    def save_model(self, request: HttpRequest, obj: Override, form: Any, change: bool) -> None:
        made = overrides.create_override(
            overrides.Kind(obj.kind),
            obj.name,
            obj.requirement,
            actor=staff(request),
            reason=obj.reason,
            until=obj.until,
        )
        obj.pk = made.pk

    @admin.action(description="End the selected overrides", permissions=["change"])
    def end(self, request: HttpRequest, queryset: QuerySet[Override]) -> None:
        ended = sum(overrides.end_override(decision, actor=staff(request)) for decision in queryset)
        self.message_user(request, f"{ended} ended; the others had ended before.")


@admin.register(Incident)
class IncidentAdmin(MirrorAdmin):
    list_display = ("subject", "kind", "detail", "count", "first_at", "last_at", "settled_at")
    list_filter = ("kind", ("settled_at", admin.EmptyFieldListFilter), "last_at")
    search_fields = ("subject",)
    actions = ["settle"]

    @admin.action(description="Mark the selected incidents as settled", permissions=["decide"])
    def settle(self, request: HttpRequest, queryset: QuerySet[Incident]) -> None:
        self.message_user(request, f"{incidents.settle(queryset)} settled.")

"""Admin of the mirror: staff look at its caches and incidents, and block or exempt versions."""

from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.contrib.admin.widgets import AdminTextInputWidget
from django.db.models import Func, IntegerField, OuterRef, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce, Length
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.utils.html import format_html_join

from accounts.models import User
from crates.mirror import (
    admin_overrides,
    admin_pages,
    changed_checksums,
    front_page,
    incidents,
    index_cache,
    maintenance,
    overrides,
    overview,
    policies,
)
from crates.mirror.models import CachedCrate, CachedIndexFile, CrateDownloads, Incident, Override
from registry_site.admin.actions import ReasonForm, StaffAction
from registry_site.admin.base import ReadOnlyAdmin
from registry_site.admin.fields import EndField
from registry_site.admin.lists import state_filter
from registry_site.admin.object_pages import Description, Link, ObjectPage

__all__ = ["admin_overrides", "front_page"]  # register pages, and add the mirror to the front page


END_OVERRIDE = "mirror.override end"


def only(row: Any) -> QuerySet[Any]:
    """Select one row of the mirror, for the verbs that take many."""
    rows: QuerySet[Any] = type(row).objects.filter(pk=row.pk)
    return rows


def block(name: str, requirement: str, reason: str, *, actor: User) -> bool:
    """Block versions of a crate; raises `Invalid`."""
    overrides.create_override(Override.Kind.BLOCKED, name, requirement, actor=actor, reason=reason)
    return True


class ExemptionForm(ReasonForm):
    """The versions of mirrored crates that policies are to let through, why, and until when."""

    requirement = forms.CharField(
        label="Versions",
        max_length=200,
        widget=AdminTextInputWidget({"autocomplete": "off", "spellcheck": "false"}),
        help_text="As in a Cargo.toml: =1.2.3, or >=1, <1.4; * is all, also later ones.",
    )
    until = EndField()
    field_order = ("requirement", "until", "reason")


def exempt(row: CachedIndexFile, *, requirement: str, actor: User, **details: Any) -> bool:
    """Exempt versions of a crate from the policies; raises `Invalid`."""
    overrides.create_override(Override.Kind.EXEMPT, row.name, requirement, actor=actor, **details)
    return True


def delete(crate: CachedCrate, *, actor: User) -> bool:
    """Delete a cached file; raises `Unavailable`."""
    maintenance.delete_crate(crate, actor=actor)
    return True


def delete_and_block(crate: CachedCrate, *, reason: str, actor: User) -> bool:
    """Block a version and delete its file, in this order, or a request could fetch it again; raises as both do."""
    return block(crate.name, f"={crate.version}", reason, actor=actor) and delete(crate, actor=actor)


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

    exported_attributes: ClassVar[dict[str, str]] = {"bytes": "size"}

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
class CachedIndexFileAdmin(MirrorAdmin, ObjectPage):
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
    staff_actions = (
        StaffAction(
            "mark_stale",
            "Ask upstream again",
            "mirror.change_cachedindexfile",
            lambda row, *, actor: index_cache.mark_stale(only(row), actor=actor) > 0,
            done="to be asked for again",
            explanation="The next request for each of these crates asks upstream.",
        ),
        StaffAction(
            "accept_changes",
            "Take the checksums that upstream has now",
            "mirror.change_cachedindexfile",
            changed_checksums.accept_any,
            done="to be taken as upstream has them",
            explanation="Checksums that were seen before count no more: whatever upstream sends next is served.",
            form=ReasonForm,
            needs_proof=True,
            refusals=changed_checksums.refusals_of_crates,
        ),
        StaffAction(
            "exempt",
            "Exempt versions from the policies",
            "mirror.add_override",
            exempt,
            done="exempted",
            explanation="Policies hold these versions back no more; what staff block stays blocked. To end that, end "
            "the override.",
            form=ExemptionForm,
            undo=END_OVERRIDE,
        ),
        StaffAction(
            "block",
            "Block all versions",
            "mirror.add_override",
            lambda row, *, actor, reason: block(row.name, "*", reason, actor=actor),
            done="blocked",
            explanation="Nobody gets these crates any more. To lift that, end the override.",
            form=ReasonForm,
            undo=END_OVERRIDE,
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[CachedIndexFile]:
        # A body may have megabytes, and checksums a tenth of that, so let the database measure them.
        index_files: QuerySet[CachedIndexFile] = super().get_queryset(request).defer("body", "checksums")
        return index_files.annotate(
            size=Length("body"),
            version_total=CountKeys("checksums"),
            failures=count_failures(OuterRef("name")),
            download_total=Coalesce(Subquery(CrateDownloads.objects.filter(pk=OuterRef("name")).values("total")), 0),
        )

    def describe(self, request: HttpRequest, row: CachedIndexFile) -> Description:
        return admin_pages.CratePage(request, row).describe()

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


@admin.register(CachedCrate)
class CachedCrateAdmin(MirrorAdmin, ObjectPage):
    list_display = ("name", "version", "license", "bytes", "upstream", "failed", "fetched_at", "last_used_at")
    list_filter = ("fetched_at", "last_used_at")
    search_fields = ("name__startswith", "sha256__startswith", "license")
    staff_actions = (
        StaffAction(
            "delete_crates",
            "Delete the files",
            "mirror.change_cachedcrate",
            delete,
            done="deleted",
            explanation="They are fetched again when somebody asks for them.",
        ),
        StaffAction(
            "delete_and_block",
            "Delete the files, and block their versions",
            "mirror.change_cachedcrate",
            delete_and_block,
            done="blocked and deleted",
            explanation="Nobody gets these versions any more. To lift that, end the override. A file that cannot be "
            "deleted at present is blocked nevertheless.",
            form=ReasonForm,
            other_permission="mirror.add_override",
            undo=END_OVERRIDE,
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[CachedCrate]:
        crates: QuerySet[CachedCrate] = super().get_queryset(request)
        return crates.annotate(failures=count_failures(OuterRef("name")))

    def describe(self, request: HttpRequest, row: CachedCrate) -> Description:
        return admin_pages.StoredFilePage(request, row).describe()


@admin.register(Incident)
class IncidentAdmin(MirrorAdmin, ObjectPage):
    list_display = ("subject", "kind", "detail", "count", "first_at", "last_at", "settled_at")
    list_filter = ("kind", ("settled_at", state_filter("state", "open", "settled")), "last_at")
    search_fields = ("subject",)
    staff_actions = (
        StaffAction(
            "settle",
            "Settle",
            "mirror.change_incident",
            lambda row, *, actor: incidents.settle(only(row), actor=actor) > 0,
            done="settled",
            explanation="They have been looked at. If the same happens again, it is a new incident.",
            undo="reopen",
            applies=lambda incident: incident.settled_at is None,
        ),
        StaffAction(
            "accept",
            "Accept the new checksums, and settle",
            "mirror.change_incident",
            changed_checksums.accept,
            done="accepted and settled",
            explanation="Clients get what upstream has now. Builds that have locked a former checksum fail. This can "
            "be taken back until upstream's new index file is stored, which the next request does; after that, block "
            "the versions.",
            form=ReasonForm,
            needs_proof=True,
            undo="take_back",
            refusals=lambda actor, rows: {row.pk: why for row in rows if (why := changed_checksums.refusal_of(row))},
            other_permission="mirror.change_cachedindexfile",
            effects=lambda rows: {row.pk: changed_checksums.describe(row) for row in rows},
            applies=lambda incident: not changed_checksums.refusal_of(incident),
        ),
        StaffAction(
            "take_back",
            "Take back accepted checksums",
            "mirror.change_incident",
            changed_checksums.take_back,
            done="taken back",
            explanation="The former checksums are expected again, and the incidents are open again.",
            needs_proof=True,
            other_permission="mirror.change_cachedindexfile",
            applies=changed_checksums.may_be_taken_back,
        ),
        StaffAction(
            "reopen",
            "Open again",
            "mirror.change_incident",
            incidents.reopen,
            done="opened again",
            explanation="They need somebody again. Checksums that were accepted stay accepted.",
            applies=lambda incident: incident.settled_at is not None,
        ),
    )

    def describe(self, request: HttpRequest, row: Incident) -> Description:
        row.index_file = admin_pages.index_file_of(row)  # type: ignore[attr-defined]  # for the buttons of this page
        return admin_pages.describe_incident(request, row, row.index_file)  # type: ignore[attr-defined]

    def get_buttons(self, request: HttpRequest, row: Incident) -> list[Link]:
        page = self.admin_site.get_model_admin(CachedIndexFile)
        index_file = row.index_file  # type: ignore[attr-defined]
        return [*super().get_buttons(request, row), *admin_pages.actions_of_crate(row, index_file, page, request)]

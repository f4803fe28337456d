"""Namespaces in the admin site."""

from typing import Any

from django.contrib import admin
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.forms import ModelForm
from django.http import HttpRequest

from accounts.admin.fields import AssignmentForm, LabelledFormSet, LoginField
from accounts.admin.staff import confirmed_staff, staff
from namespaces import membership
from namespaces.admin import namespace_page
from namespaces.admin.roles import give_role_action, has_few_roles, undo_roles_action
from namespaces.admin.transfer import TRANSFER
from namespaces.admin.trash import trash_actions
from namespaces.models import MemberInvitation, Membership, Namespace, Role
from registry_site.admin.base import ReadOnlyAdmin
from registry_site.admin.lists import state_filter
from registry_site.admin.object_pages import Description, ObjectPage


class NewNamespaceForm(ModelForm):
    """The form of a shared namespace, with the account that is to let others in."""

    owner = LoginField(label="First owner", help_text="The login name of an account. It adds the other members.")

    class Meta:
        model = Namespace
        fields = ("name",)


class RoleAssignmentInline(admin.TabularInline):
    """The users with a role in a namespace or a package."""

    form = AssignmentForm
    formset = LabelledFormSet
    extra = 0
    readonly_fields = ("added_by", "added_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("user", "added_by")


class MembershipInline(RoleAssignmentInline):
    model = Membership
    fk_name = "namespace"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Membership]:
        memberships: QuerySet[Membership] = super().get_queryset(request).select_related("namespace")
        return memberships

    def has_add_permission(self, request: HttpRequest, obj: Namespace | None = None) -> bool:
        return is_shared(obj) and bool(super().has_add_permission(request, obj))

    def has_change_permission(self, request: HttpRequest, obj: Namespace | None = None) -> bool:
        return is_shared(obj) and bool(super().has_change_permission(request, obj))

    def has_delete_permission(self, request: HttpRequest, obj: Namespace | None = None) -> bool:
        return is_shared(obj) and bool(super().has_delete_permission(request, obj))


def is_shared(namespace: Namespace | None) -> bool:
    """Return whether staff may manage members: a personal namespace has none but its user."""
    return namespace is None or namespace.user_id is None


@admin.register(Namespace)
class NamespaceAdmin(ObjectPage):
    """Namespaces: staff create shared ones, manage members, and remove and restore them."""

    list_display = ("name", "personal", "owner_names", "created_at", "removed_at")
    list_filter = (
        ("user", state_filter("kind", "shared", "personal")),
        ("removed_at", state_filter("state", "in use", "in the trash")),
        "created_at",
    )
    search_fields = ("name",)
    staff_actions = (
        *trash_actions(Namespace, "namespaces.change_namespace", membership.set_removed),
        give_role_action(Membership, "namespaces.add_membership", membership.give_role_as_staff),
        TRANSFER,
        undo_roles_action(Membership, "namespaces.change_namespace", membership.undo_roles_as_staff),
    )
    inlines = [MembershipInline]
    typed_fields = ("user",)
    fields = ("name", "user", "created_at", "removed_at")

    def get_fields(self, request: HttpRequest, obj: Namespace | None = None) -> Any:
        return self.fields if obj else ("name", "owner")

    def get_readonly_fields(self, request: HttpRequest, obj: Namespace | None = None) -> Any:
        return self.fields if obj else ()

    def get_form(self, request: HttpRequest, obj: Namespace | None = None, change: bool = False, **kwargs: Any) -> Any:
        return super().get_form(request, obj, change, **kwargs, **({} if change else {"form": NewNamespaceForm}))

    def get_inlines(self, request: HttpRequest, obj: Namespace | None) -> Any:
        return self.inlines if obj and has_few_roles(Membership, obj) else []

    def get_page_queryset(self, request: HttpRequest) -> QuerySet[Namespace]:
        return namespace_page.page_queryset()

    def describe(self, request: HttpRequest, row: Namespace) -> Description:
        return namespace_page.describe(request, row)

    def save_model(self, request: HttpRequest, obj: Namespace, form: ModelForm, change: bool) -> None:
        if not change:
            owner = form.cleaned_data["owner"]
            obj.pk = membership.create_namespace_for(owner, obj.name, actor=staff(request)).pk

    def get_queryset(self, request: HttpRequest) -> QuerySet[Namespace]:
        owners = Membership.objects.filter(namespace=OuterRef("pk"), role=Role.OWNER).order_by()
        number = owners.values("namespace").annotate(number=Count("pk")).values("number")
        namespaces: QuerySet[Namespace] = super().get_queryset(request)
        # Not all of their names: a page of the list could name thousands of people.
        return namespaces.annotate(
            first_owner=Subquery(owners.order_by("pk").values("user__username")[:1]), owner_count=Subquery(number)
        )

    @admin.display(boolean=True)
    def personal(self, namespace: Namespace) -> bool:
        return namespace.user_id is not None

    @admin.display(description="owners")
    def owner_names(self, namespace: Any) -> str:
        others = (namespace.owner_count or 1) - 1
        return f"{namespace.first_owner} and {others:,} more" if others else namespace.first_owner or "nobody"

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        formset.save(commit=False)
        saved = [*formset.new_objects, *(row for row, _ in formset.changed_objects)]
        membership.set_members_by_staff(form.instance, saved, formset.deleted_objects, actor=confirmed_staff(request))


class InvitationAdmin(ReadOnlyAdmin):
    """Invitations that wait for an answer, have ended or were declined. Administrators withdraw them on the pages."""

    columns = ("user", "role", "inviter", "invited_at", "ends_at", "declined_at")
    list_filter = ("role", "invited_at", ("declined_at", state_filter("answer", "not declined", "declined")))
    search_fields = ("user__username", "inviter__username")


@admin.register(MemberInvitation)
class MemberInvitationAdmin(InvitationAdmin):
    list_display = fields = ("namespace", *InvitationAdmin.columns)
    list_select_related = ("namespace", "user", "inviter")

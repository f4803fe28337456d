"""What staff do with the roles of accounts in namespaces and packages: lists of them, and actions that change them."""

from collections.abc import Callable, Sequence
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Q
from django.http import HttpRequest

from accounts.admin.fields import LoginField
from accounts.models import User
from namespaces import membership
from namespaces.models import Membership, Role, RoleAssignment
from registry_site.admin.actions import ActionForm, StaffAction
from registry_site.admin.base import ReadOnlyAdmin
from registry_site.admin.lists import TextFilter

MAX_INLINE_ROLES = 50  # of a form; more of them are changed in their list, by actions


def has_few_roles(model: type[RoleAssignment], subject: Any) -> bool:
    """Return whether the form of a namespace or a package has room for all of its roles."""
    return model.in_subject(subject).count() <= MAX_INLINE_ROLES


class RoleForm(ActionForm):
    """The role that accounts have from now on."""

    role = forms.ChoiceField(choices=Role.choices)
    field_order: Sequence[str] = ("role", "reason")

    def clean_role(self) -> Role:
        return Role(self.cleaned_data["role"])


class NewRoleForm(RoleForm):
    """An account, and the role that it gets."""

    user = LoginField()
    field_order = ("user", "role", "reason")


def give_role_action(model: type[RoleAssignment], permission: str, give: Callable[..., bool]) -> StaffAction:
    """Return the action that gives an account a role in the chosen namespaces or packages."""
    return StaffAction(
        "give_role",
        f"Give an account a role as {model.noun}",
        permission,
        give,
        done=f"with this {model.noun}",
        explanation="The account has this role from now on, whether it had another one or none.",
        form=NewRoleForm,
        needs_proof=True,
        undo="undo_roles",
        applies=lambda subject: subject.removed_at is None and getattr(subject, "user_id", None) is None,
    )


def undo_roles_action(model: type[RoleAssignment], permission: str, undo: Callable[..., bool]) -> StaffAction:
    """Return the action that undoes runs which gave or changed roles in namespaces or packages."""
    return StaffAction(
        "undo_roles",
        "Undo a change of roles",
        permission,
        undo,
        done="with the former roles",
        explanation=f"Each {model.noun} whose role the run gave or changed has the former one again, or none. Where "
        "one of these roles has changed since, all stay as they are. Other roles and invitations stay, too.",
        needs_proof=True,
        by_run=True,
    )


def role_actions(
    app_label: str, model: type[RoleAssignment], give: Callable[..., bool], set_by_staff: Callable[..., None]
) -> tuple[StaffAction, ...]:
    """Return the actions that change or take the chosen roles."""

    def change(row: Any, *, role: Role, actor: User) -> bool:
        return give(row.subject, user=row.user, role=role, actor=actor)

    def remove(row: Any, *, actor: User) -> bool:
        set_by_staff(row.subject, [], [row], actor=actor)
        return True

    name = model._meta.model_name
    return (
        StaffAction(
            "change_role",
            "Change the role",
            f"{app_label}.change_{name}",
            change,
            done="with this role",
            explanation="At least one owner with an open account has to stay.",
            form=RoleForm,
            needs_proof=True,
            undo=f"{app_label}.{model.subject_field} undo_roles",
        ),
        StaffAction(
            "remove",
            "Take the role away",
            f"{app_label}.delete_{name}",
            remove,
            done="without a role",
            explanation="They have no role there any more. At least one owner with an open account has to stay.",
            needs_proof=True,
        ),
    )


class SubjectFilter(TextFilter):
    """Roles in one namespace or package, by its key: pages lead to the list with it."""

    subject_field: str

    def condition(self, text: str) -> Q:
        return Q(**{f"{self.subject_field}_id": int(text)}) if text.isdecimal() and len(text) < 19 else Q(pk=None)


class NamespaceFilter(SubjectFilter):
    title = "number of the namespace"
    parameter_name = "namespace"
    subject_field = "namespace"


class RoleAdmin(ReadOnlyAdmin):
    """Roles of accounts. A namespace can have thousands of members: its form has no room for them."""

    columns = ("user", "role", "added_by", "added_at")
    search_fields = ("user__username",)

    def get_subject(self, row: Any) -> Any:
        return row.subject


@admin.register(Membership)
class MembershipAdmin(RoleAdmin):
    list_display = fields = ("namespace", *RoleAdmin.columns)
    list_filter = ("role", "added_at", NamespaceFilter)
    list_select_related = ("namespace", "user", "added_by")
    staff_actions = role_actions(
        "namespaces", Membership, membership.give_role_as_staff, membership.set_members_by_staff
    )

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).select_related(*self.list_select_related)

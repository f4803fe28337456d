"""Forms about the roles in a namespace or a package, and about namespaces of one's own."""

from collections.abc import Sequence
from typing import Any

from django import forms

from accounts.forms.account import OwnForm
from accounts.forms.fields import NameField
from accounts.principals import Principal
from namespaces import invitations, membership, names
from namespaces.invitations import RoleKind
from namespaces.models import Namespace, Role, RoleAssignment, RoleInvitation
from registry_site.errors import RegistryError
from registry_site.forms import validator

MAX_KEY = 2**63 - 1


class RoleForm(OwnForm):
    """A form about the subject of these names, by a principal who may give these roles there."""

    def __init__(
        self,
        kind: RoleKind,
        principal: Principal,
        subject_names: Sequence[str],
        givable: Sequence[Role],
        *args: Any,
        **options: Any,
    ) -> None:
        super().__init__(principal, *args, **options)
        self.kind = kind
        self.subject_names = subject_names
        if "role" in self.fields:
            self.fields["role"].choices = self.choices(givable)  # type: ignore[attr-defined]  # of a choice field

    def choices(self, givable: Sequence[Role]) -> list[tuple[str, str]]:
        return [(role.value, role.label) for role in givable]


class InviteForm(RoleForm):
    username = NameField(
        label="User name", autocomplete="off", help_text="The name of an account here, as it stands on its page."
    )
    role = forms.ChoiceField(widget=forms.RadioSelect, initial=Role.MEMBER)

    fields_of_codes = {
        **dict.fromkeys(("user_missing", "already_member", "already_collaborator", "invitation_declined"), "username"),
        "role_denied": "role",
    }

    def choices(self, givable: Sequence[Role]) -> list[tuple[str, str]]:
        return [(role.value, f"{role.label}: {self.kind.abilities[role]}") for role in givable]

    def act(self) -> RoleInvitation:
        fields = self.cleaned_data
        return invitations.invite(
            self.kind, self.principal, self.subject_names, fields["username"], Role(fields["role"])
        )

    def message_of(self, error: RegistryError) -> str:
        return "There is no open account of this name." if error.code == "user_missing" else super().message_of(error)


class WithdrawForm(RoleForm):
    """The button beside an invitation: its key."""

    withdraw = forms.IntegerField(min_value=1, max_value=MAX_KEY)

    def act(self) -> RoleInvitation:
        return invitations.withdraw(self.kind, self.principal, self.subject_names, self.cleaned_data["withdraw"])


class OneRoleForm(RoleForm):
    """A form about the role of one account."""

    def __init__(self, *args: Any, assignment: RoleAssignment, **options: Any) -> None:
        super().__init__(*args, initial={"role": assignment.role}, **options)
        self.username = assignment.user.username


class ChangeRoleForm(OneRoleForm):
    role = forms.ChoiceField()

    fields_of_codes = {"last_owner": "role", "denied": "role"}

    def act(self) -> Any:
        role = Role(self.cleaned_data["role"])
        return invitations.change_role(self.kind, self.principal, self.subject_names, self.username, role)


class RemoveForm(OneRoleForm):
    def act(self) -> None:
        invitations.remove(self.kind, self.principal, self.subject_names, self.username)


class NamespaceForm(OwnForm):
    namespace = forms.CharField(
        label="Name",
        validators=[validator(names.validate)],
        help_text=f"Use {names.RULE} Users and namespaces share their names: none may look like another, in any case.",
        widget=forms.TextInput({"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}),
    )

    fields_of_codes = dict.fromkeys(("name_invalid", "name_taken", "name_too_similar"), "namespace")

    def act(self) -> Namespace:
        return membership.create_namespace(self.principal, self.cleaned_data["namespace"])

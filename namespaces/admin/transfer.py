"""Staff give a namespace to another account."""

from accounts.admin.fields import LoginField
from namespaces import membership
from registry_site.admin.actions import ActionForm, StaffAction


class NewOwnerForm(ActionForm):
    """The account that owns a namespace from now on."""

    user = LoginField(label="New owner")
    field_order = ("user", "reason")


TRANSFER = StaffAction(
    "transfer",
    "Transfer to another owner",
    "namespaces.change_namespace",
    membership.transfer_as_staff,
    done="transferred",
    explanation="The account owns these namespaces from now on. Former owners stay as managers.",
    form=NewOwnerForm,
    needs_proof=True,
    undo="undo_roles",
    applies=lambda namespace: namespace.removed_at is None and namespace.user_id is None,
)

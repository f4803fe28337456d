"""What staff do with the owners of crates."""

from accounts.admin.fields import LoginField
from crates import ownership
from registry_site.admin.actions import ActionForm, StaffAction


class OwnerForm(ActionForm):
    """The account of an owner."""

    user = LoginField()
    field_order = ("user", "reason")


OWNER_ACTIONS = (
    StaffAction(
        "add_owner",
        "Add an owner",
        "crates.change_crate",
        lambda crate, *, user, actor: ownership.change_as_staff(crate, [user], [], actor=actor),
        done="with one more owner",
        explanation="The account may publish, yank and change owners of these crates at once, without an invitation.",
        form=OwnerForm,
        needs_proof=True,
        undo="undo_owners",
    ),
    StaffAction(
        "remove_owner",
        "Remove an owner",
        "crates.change_crate",
        lambda crate, *, user, actor: ownership.change_as_staff(crate, [], [user], actor=actor),
        done="with one owner less",
        form=OwnerForm,
        needs_proof=True,
        undo="undo_owners",
    ),
    StaffAction(
        "transfer",
        "Transfer to another owner",
        "crates.change_crate",
        ownership.transfer_as_staff,
        done="transferred",
        explanation="The account owns these crates alone from now on; all former owners lose them.",
        form=OwnerForm,
        needs_proof=True,
        undo="undo_owners",
    ),
    StaffAction(
        "undo_owners",
        "Undo a change of owners",
        "crates.change_crate",
        ownership.undo_as_staff,
        done="with the former owners",
        explanation="Owners whom the run added lose these crates, and those whom it removed own them again. Others "
        "stay. Where one of these has changed since, all are left as they are.",
        needs_proof=True,
        by_run=True,
    ),
)

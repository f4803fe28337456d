"""What staff do with the owners of crates."""

from accounts.admin.fields import LoginField
from accounts.models import User
from crates import ownership
from crates.models import Crate
from registry_site.admin.actions import ActionForm, StaffAction


class OwnerForm(ActionForm):
    """The account of an owner."""

    user = LoginField()
    field_order = ("user", "reason")


def add(crate: Crate, *, user: User, actor: User) -> bool:
    """Add an owner; return False for an account that is one already."""
    if crate.ownerships.filter(user=user).exists():
        return False
    ownership.change_as_staff(crate, [user], [], actor=actor)
    return True


def remove(crate: Crate, *, user: User, actor: User) -> bool:
    """Remove an owner; return False for an account that is none. Raises `Conflict` for the last one."""
    if not crate.ownerships.filter(user=user).exists():
        return False
    ownership.change_as_staff(crate, [], [user], actor=actor)
    return True


OWNER_ACTIONS = (
    StaffAction(
        "add_owner",
        "Add an owner",
        "crates.change_crate",
        add,
        done="with one more owner",
        explanation="The account may publish, yank and change owners of these crates at once, without an invitation.",
        form=OwnerForm,
        needs_proof=True,
    ),
    StaffAction(
        "remove_owner",
        "Remove an owner",
        "crates.change_crate",
        remove,
        done="with one owner less",
        form=OwnerForm,
        needs_proof=True,
    ),
    StaffAction(
        "transfer",
        "Transfer to another owner",
        "crates.change_crate",
        lambda crate, *, user, actor: ownership.transfer_as_staff(crate, user, actor=actor),
        done="transferred",
        explanation="The account owns these crates alone from now on; all former owners lose them.",
        form=OwnerForm,
        needs_proof=True,
    ),
)

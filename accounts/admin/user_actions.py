"""What staff do with accounts: bans, and ways in that are lost or must end."""

from collections.abc import Mapping, Sequence
from typing import Any

from django import forms

from accounts import bans, closing, names, ranks
from accounts.admin.bans import BanForm
from accounts.admin.staff import rank_over
from accounts.admin.token_form import NewTokenForm
from accounts.credentials import own_tokens, revocation
from accounts.models import User
from accounts.passwords import login_throttle, reset
from accounts.ranks import Rank
from accounts.second_factor import authenticators
from registry_site.admin.actions import ActionForm, ReasonForm, StaffAction

NO_RANK = "none"

own_rank = rank_over(lambda user: user)


class RankForm(ActionForm):
    """The rank that accounts have from now on; without one they are no staff."""

    rank = forms.ChoiceField(
        choices=[("", "Choose one"), *((name, name) for name in Rank.values), (NO_RANK, "none: a user like all others")]
    )
    field_order = ("rank", "reason")

    def clean_rank(self) -> Rank | None:
        name = self.cleaned_data["rank"]
        return None if name == NO_RANK else Rank(name)


def rank_refusals(actor: User, users: Sequence[User]) -> Mapping[Any, str]:
    """Return why an actor does not set the rank of some accounts, by their keys."""
    if not actor.is_superuser:
        return {user.pk: "Only superusers set ranks." for user in users}
    return {user.pk: "An administrator has every right." for user in users if user.is_superuser}


def rank_warnings(users: Sequence[Any]) -> Mapping[Any, str]:
    """Return which accounts cannot use a rank at present, by their keys."""
    banned = {user.pk: f"{user} is banned: its rank counts once the ban ends." for user in users if user.is_banned}
    closed = {
        user.pk: f"{user} is closed: its rank counts once it is opened again." for user in users if not user.is_active
    }
    return {**banned, **closed}


ACTIONS = (
    StaffAction(
        "ban",
        "Ban",
        "accounts.ban_user",
        lambda user, *, actor, **fields: bool(bans.ban(user, actor=actor, **fields)),
        done="banned",
        explanation="Every token, key and session of these accounts is refused, until the end or until the ban is "
        "lifted. It replaces a ban in force.",
        form=BanForm,
        undo="undo_ban",
        refusals=own_rank,
        not_oneself="Your own account is left out.",
    ),
    StaffAction(
        "unban",
        "Lift the ban",
        "accounts.ban_user",
        bans.unban,
        done="unbanned",
        applies=lambda user: user.is_banned,
        explanation="The accounts can be used again at once, with the tokens and keys that they had.",
        undo="undo_ban",
        refusals=own_rank,
    ),
    StaffAction(
        "undo_ban",
        "Undo a ban or its end",
        "accounts.ban_user",
        bans.undo,
        done="as before",
        explanation="The run's ban is lifted, and a ban that it lifted or replaced is in force again, with its reason "
        "and its end. Accounts that were banned anew since are left as they are.",
        by_run=True,
        refusals=own_rank,
    ),
    StaffAction(
        "close",
        "Close the account",
        "accounts.change_user",
        closing.close_as_staff,
        done="closed",
        applies=lambda user: user.is_active,
        explanation="Every token, key and session of these accounts is refused at once. What they published stays, and "
        "so do their names. Who has an e-mail address gets a mail.",
        form=ReasonForm,
        needs_proof=True,
        undo="reopen",
        refusals=own_rank,
        not_oneself="Close your own account at /account/close.",
    ),
    StaffAction(
        "reopen",
        "Reopen the account",
        "accounts.change_user",
        closing.reopen,
        done="reopened",
        applies=lambda user: not user.is_active,
        explanation="The accounts can be used again at once, with the tokens and keys that have not ended.",
        needs_proof=True,
        undo="close",
        refusals=own_rank,
    ),
    StaffAction(
        "set_rank",
        "Set the rank",
        "accounts.change_user",
        ranks.set_rank,
        done="with this rank",
        explanation="The accounts get the rights of this group of staff instead of those of another rank, and may "
        "enter this site; without a rank they may not. Other groups and rights of theirs stay.",
        form=RankForm,
        needs_proof=True,
        refusals=rank_refusals,
        not_oneself="Your own rank is set by another administrator.",
        warnings=rank_warnings,
    ),
    StaffAction(
        "revoke_tokens",
        "End all tokens, keys and sessions",
        "accounts.change_credential",
        lambda user, *, actor: revocation.revoke_all(user, actor) > 0,
        done="signed out",
        explanation="Everything that signs these accounts in ends at once, and for good; the passwords stay.",
        applies=lambda user: user.has_credentials,
        refusals=own_rank,
    ),
    StaffAction(
        "unlock",
        "Unlock after failed log-ins",
        "accounts.reset_user",
        lambda user, *, actor: login_throttle.unlock(names.canonical(user.username), actor=actor) > 0,
        done="unlocked",
        explanation="Their recent failures count no more, so that they can sign in.",
        applies=lambda user: user.has_failures,
        refusals=own_rank,
    ),
    StaffAction(
        "send_reset_link",
        "Send a link for a new password",
        "accounts.reset_user",
        reset.send_link_as_staff,
        done="sent a link",
        explanation="A mail goes to the address of each account, with a link by which its owner chooses a new "
        "password. That ends all its sessions.",
        applies=lambda user: user.is_in_good_standing and reset.can_mail_link(user),
        refusals=own_rank,
    ),
    StaffAction(
        "make_token",
        "Make a token",
        "accounts.add_credential",
        own_tokens.create_token_as_staff,
        done="with a new token",
        explanation="The token is shown once, on the page after this one. Whoever has it acts as this account.",
        form=NewTokenForm,
        needs_proof=True,
        refusals=own_rank,
        not_oneself="Make your own tokens at /account/tokens.",
        applies=lambda user: user.is_in_good_standing,
        max_rows=1,
    ),
    StaffAction(
        "remove_second_factor",
        "Remove the second factor",
        "accounts.reset_user",
        lambda user, *, actor: authenticators.reset(user, actor=actor) > 0,
        done="without a second factor",
        applies=lambda user: user.has_second_factor,
        explanation="They sign in by the password alone from now on. Be sure that it is they who ask for it.",
        needs_proof=True,
        refusals=own_rank,
        not_oneself="Your own second factor goes at /account/security.",
    ),
)

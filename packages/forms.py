"""The form that answers an invitation."""

from django import forms

from accounts.forms.account import OwnForm
from namespaces import invitations
from namespaces.models import RoleInvitation
from packages.own_roles import KINDS

ACCEPT, DECLINE = "accept", "decline"


class AnswerForm(OwnForm):
    """The two buttons of an invitation; `role` is the one that stood beside them."""

    kind = forms.ChoiceField(choices=[(name, name) for name in KINDS])
    invitation = forms.IntegerField(min_value=1, max_value=2**63 - 1)
    role = forms.CharField(max_length=16)
    answer = forms.ChoiceField(choices=[(ACCEPT, ACCEPT), (DECLINE, DECLINE)])

    @property
    def is_accepted(self) -> bool:
        return bool(self.cleaned_data["answer"] == ACCEPT)

    def act(self) -> RoleInvitation:
        kind, key = KINDS[self.cleaned_data["kind"]], self.cleaned_data["invitation"]
        if self.is_accepted:
            return invitations.accept(kind, self.principal, key, self.cleaned_data["role"])
        return invitations.decline(kind, self.principal, key)

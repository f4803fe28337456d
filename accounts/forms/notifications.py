"""The form of the mails that one gets."""

from typing import Any

from django import forms
from django.forms.models import fields_for_model

from accounts import notification_choices
from accounts.forms.account import OwnForm
from accounts.models import NotificationChoices


class NotificationsForm(OwnForm):
    """A box for each kind of mails that can be switched off."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        choices = notification_choices.choices_of(self.principal.user)
        for name, field in fields_for_model(NotificationChoices).items():
            self.fields[name] = forms.BooleanField(label=field.label, required=False, initial=getattr(choices, name))

    def act(self) -> None:
        notification_choices.change_choices(self.principal, **self.cleaned_data)

"""Fields of forms of staff that need no JavaScript: accounts by their login names, and ends by day and time."""

from datetime import UTC, datetime, time
from typing import Any

from django import forms
from django.contrib.admin.widgets import AdminTextInputWidget
from django.core.exceptions import ValidationError
from django.utils import timezone

from accounts.models import User

LAST_SECOND = time(23, 59, 59)


class LoginField(forms.CharField):
    """An account, by its login name. Its clean value is the account."""

    default_error_messages = {"unknown": "There is no account %(name)s."}

    def __init__(self, **kwargs: Any) -> None:
        widget = AdminTextInputWidget({"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"})
        super().__init__(**{"max_length": 150, "label": "Login name", "widget": widget, **kwargs})

    def prepare_value(self, value: Any) -> Any:
        return value.username if isinstance(value, User) else value

    def clean(self, value: Any) -> Any:
        if isinstance(value, User):  # of a row that has its account for good
            return value
        name = super().clean(value)
        if not name:
            return None
        user = User.objects.named(name).first()
        if user is None:
            raise ValidationError(self.error_messages["unknown"], "unknown", {"name": name})
        return user


class AssignmentForm(forms.ModelForm):
    """A row that gives an account something; another account needs another row."""

    user = LoginField()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk is not None:
            self.fields["user"].disabled = True
            self.initial["user"] = self.instance.user


class EndForm(forms.Form):
    """The fields of an end, in UTC. A day alone counts as a whole: the end is its last second."""

    last_day = forms.DateField(
        label="Until (day)",
        required=False,
        widget=forms.DateInput({"type": "date"}, format="%Y-%m-%d"),
        help_text="In UTC. Without a time the day counts as a whole. Leave both empty for no end.",
    )
    last_time = forms.TimeField(
        label="Until (time)", required=False, widget=forms.TimeInput({"type": "time"}, format="%H:%M")
    )

    def clean(self) -> dict[str, Any]:
        """Replace both fields by `until`, None for no end."""
        cleaned = super().clean() or self.cleaned_data
        day, moment = cleaned.pop("last_day", None), cleaned.pop("last_time", None)
        cleaned["until"] = None
        if day is None:
            if moment is not None and "last_day" not in self.errors:
                self.add_error("last_day", "Give the day of this time, too.")
        else:
            cleaned["until"] = datetime.combine(day, moment or LAST_SECOND, UTC)
            if cleaned["until"] <= timezone.now():
                self.add_error("last_day", "This end has passed already.")
        return cleaned

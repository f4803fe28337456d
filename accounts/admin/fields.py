"""Fields of forms of staff that need no JavaScript: accounts by their login names."""

from typing import Any

from django import forms
from django.contrib.admin.widgets import AdminTextInputWidget
from django.core.exceptions import ValidationError

from accounts.models import User


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


class LabelledFormSet(forms.BaseInlineFormSet):
    """Rows of a table in a form. The heads of its columns label no field for those who do not see them."""

    def add_fields(self, form: Any, index: int | None) -> None:
        super().add_fields(form, index)
        for name, field in form.fields.items():
            if not field.widget.is_hidden:
                field.widget.attrs.setdefault("aria-label", str(field.label or name))


class AssignmentForm(forms.ModelForm):
    """A row that gives an account something; another account needs another row."""

    user = LoginField()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk is not None:
            self.fields["user"].disabled = True
            self.initial["user"] = self.instance.user

"""The query of the list of events."""

from django import forms


class BeforeForm(forms.Form):
    before = forms.IntegerField(min_value=1, max_value=2**63 - 1)

    @property
    def before_key(self) -> int | None:
        """The key in the query; None for none, and for what is no key, so that the list begins anew."""
        return self.cleaned_data["before"] if self.is_valid() else None

"""Fields of forms of staff that need no JavaScript."""

from datetime import UTC, date, datetime, time
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone

END_OF_DAY = time(23, 59, 59)


class MomentWidget(forms.SplitDateTimeWidget):
    """A day, and a time that may be left empty."""

    def __init__(self, label: str) -> None:
        super().__init__(
            date_attrs={"type": "date", "aria-label": f"{label} (day)"},
            time_attrs={"type": "time", "aria-label": f"{label} (time)"},
            date_format="%Y-%m-%d",
            time_format="%H:%M",
        )


class MomentField(forms.MultiValueField):
    """A moment in UTC, by a day with or without a time; empty is None. `default_time` stands for no time."""

    def __init__(self, *, label: str, default_time: time, **kwargs: Any) -> None:
        self.default_time = default_time
        super().__init__(
            fields=(forms.DateField(required=False), forms.TimeField(required=False)),
            widget=MomentWidget(label),
            label=label,
            required=False,
            require_all_fields=False,
            **kwargs,
        )

    def compress(self, data_list: list[Any]) -> datetime | None:
        day, moment = data_list or (None, None)
        if moment is not None and not isinstance(day, date):
            raise ValidationError("Give the day of this time, too.")
        return datetime.combine(day, self.default_time if moment is None else moment, UTC) if day else None


class EndField(MomentField):
    """An end that has not passed, in UTC. A day alone counts as a whole: the end is its last second."""

    def __init__(self, label: str = "Until") -> None:
        help_text = "In UTC. A day without a time counts as a whole. Leave both empty for no end."
        super().__init__(label=label, default_time=END_OF_DAY, help_text=help_text)

    def clean(self, value: Any) -> datetime | None:
        until: datetime | None = super().clean(value)
        if until is not None and until <= timezone.now():
            raise ValidationError("This end has passed already.")
        return until

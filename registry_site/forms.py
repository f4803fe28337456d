"""Forms of pages: they call one verb of the domain, and show its refusals where the input stands."""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from registry_site.errors import RegistryError, RetryLater
from registry_site.http.dialects import status_of
from registry_site.http.request_log import annotate_refusal


def validator(check: Callable[[str], Any]) -> Callable[[str], None]:
    """Return a validator of a field that calls a check of the domain: all bad fields are marked at once."""

    def validate(value: str) -> None:
        try:
            check(value)
        except RegistryError as error:
            raise ValidationError(error.message) from error

    return validate


class VerbForm(forms.Form):
    """A form that calls one verb of the domain with its clean values.

    All that was typed stays in a form that is shown again, but passwords.
    """

    fields_of_codes: ClassVar[Mapping[str, str]] = {}  # the field of a refusal, by its code; others stand above all
    refusal: RegistryError | None = None
    result: Any = None

    def act(self) -> Any:
        """Call the verb with `cleaned_data`, and return its result."""
        raise NotImplementedError

    def submit(self) -> bool:
        """Call the verb if all fields are clean; return whether it did what was asked for."""
        if not self.is_valid():
            return False
        try:
            self.result = self.act()
        except RegistryError as error:
            self.refusal = error
            annotate_refusal(status_of(error), error.code, error.message)
            field = self.fields_of_codes.get(error.code)
            self.add_error(field if field in self.fields else None, self.message_of(error))
        return self.refusal is None

    def message_of(self, error: RegistryError) -> str:
        """Return the sentence for a person about a refusal."""
        return error.message

    @property
    def status(self) -> int:
        """The status of the page that shows this form."""
        if self.refusal is not None:
            return status_of(self.refusal)
        return HTTPStatus.BAD_REQUEST if self.errors else HTTPStatus.OK


def posted(request: HttpRequest) -> Any:
    """Return the fields of a form that was sent, or None for one that is to be shown."""
    return request.POST if request.method == "POST" else None


def render_form(request: HttpRequest, template: str, form: VerbForm, **context: Any) -> HttpResponse:
    """Return the page of a form, with the status of its refusal; after a rate limit also with Retry-After."""
    response = render(request, template, {"form": form, **context}, status=form.status)
    if isinstance(form.refusal, RetryLater):
        response["Retry-After"] = str(form.refusal.retry_after)
    return response

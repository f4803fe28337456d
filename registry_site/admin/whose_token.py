"""Whose token is this? Staff paste a text that somebody has found, and see what it opens, and revoke it.

The text is never shown again, stored or logged, and stands in no address. Each look-up is in the audit log.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from http import HTTPStatus
from typing import Any, cast

from django import forms
from django.contrib import admin
from django.contrib.admin.widgets import AdminTextareaWidget
from django.contrib.auth.base_user import AbstractBaseUser
from django.db.models import Model
from django.http import HttpRequest, HttpResponse

from registry_site import audit
from registry_site.admin import site_pages
from registry_site.admin.object_pages import Fact, Link, may_view
from registry_site.errors import TooManyRequests
from registry_site.rate_limits import RateLimit

MAX_LENGTH = 20_000
MAX_PARTS = 200
MIN_LENGTH = 8  # a shorter text is no token
SEPARATORS = re.compile(r"[\s\"'`=,;<>()\[\]{}]+")
LIMIT = RateLimit(
    "token_look_ups",
    limit=30,
    window=timedelta(minutes=10),
    message="You have looked up too many texts; wait {seconds} seconds.",
)


@dataclass(frozen=True)
class Match:
    """Something that a text opens: what it is, whose, whether it works, and what staff can do about it."""

    title: str
    holder: Model
    facts: Sequence[Fact]
    is_live: bool
    buttons: Sequence[Link] = field(default=())


Recognizer = Callable[[HttpRequest, Sequence[str]], Iterator[Match]]
recognizers: list[tuple[type[Model], Recognizer]] = []


def add(model: type[Model]) -> Callable[[Recognizer], Recognizer]:
    """Register a function that recognizes texts as rows of a model, for those who may view these."""

    def register(recognizer: Recognizer) -> Recognizer:
        recognizers.append((model, recognizer))
        return recognizer

    return register


class PastedTextForm(forms.Form):
    """The form for a text, which no answer repeats."""

    text = forms.CharField(
        label="Token, header, cookie or line of a file",
        max_length=MAX_LENGTH,
        widget=AdminTextareaWidget({"rows": 4, "autocomplete": "off", "spellcheck": "false"}),
    )


def page_view(request: HttpRequest) -> HttpResponse:
    """`/admin/whose-token/`: a form, and the answer to it."""
    form = PastedTextForm(request.POST if request.method == "POST" else None)
    matches, refusal = None, ""
    if form.is_bound and form.is_valid():
        try:
            LIMIT.count(str(request.user.pk))
            matches = look_up(request, form.cleaned_data["text"])
        except TooManyRequests as error:
            refusal = error.message
    return site_pages.render(
        request,
        "admin/whose_token.html",
        "Whose token is this?",
        status=HTTPStatus.TOO_MANY_REQUESTS if refusal else HTTPStatus.OK,
        form=PastedTextForm(),
        errors=form.errors.get("text", []) if form.is_bound else [],
        refusal=refusal,
        matches=matches,
    )


def look_up(request: HttpRequest, text: str) -> list[Match]:
    """Return what a text opens, and record that somebody has asked, with what came out, but without the text."""
    parts = parts_of(text)
    matches = [
        match for model, recognizer in recognizers if may_view(request, model) for match in recognizer(request, parts)
    ]
    action, actor = audit.Action.TOKEN_LOOK_UP, cast(AbstractBaseUser, request.user)
    events = [audit.new_event(actor, action, match.holder, match=match.title) for match in matches]
    audit.record_all(events or [audit.new_event(actor, action, "nobody", match="nothing that is known here")])
    return matches


def parts_of(text: str) -> list[str]:
    """Return the texts in a pasted one that can be tokens: the whole, its words, and what stands before a colon."""
    words = [word for word in SEPARATORS.split(text) if len(word) >= MIN_LENGTH]
    halves = [half for word in words if ":" in word for half in word.split(":") if len(half) >= MIN_LENGTH]
    return list(dict.fromkeys([text.strip(), *words, *halves]))[:MAX_PARTS]


def buttons_for(request: HttpRequest, row: Model) -> list[Link]:
    """Return the actions of staff on a row."""
    page: Any = admin.site.get_model_admin(type(row))
    return [Link(label, url) for label, url in page.get_applicable_actions(request, row)]

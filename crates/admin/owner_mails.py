"""Mails of staff to the owners of crates, in the admin site."""

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.widgets import AdminTextareaWidget, AdminTextInputWidget
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import linebreaksbr

from crates import owner_mails
from crates.models import OwnerMail
from registry_site import mail
from registry_site.admin.actions import ActionForm, StaffAction
from registry_site.admin.base import ReadOnlyAdmin
from registry_site.admin.object_pages import Description, Fact, ObjectPage, link_to
from registry_site.errors import Invalid
from registry_site.templatetags.figures import counted


class OwnerMailForm(ActionForm):
    """Subject and text of a mail."""

    subject = forms.CharField(max_length=OwnerMail.MAX_SUBJECT_LENGTH, widget=AdminTextInputWidget)
    text = forms.CharField(
        max_length=OwnerMail.MAX_TEXT_LENGTH,
        widget=AdminTextareaWidget,
        help_text="Plain text. The mail greets its reader by name, and names the crates.",
    )
    field_order = ("subject", "text", "reason")

    def clean(self) -> dict[str, Any] | None:
        if not self.errors:
            try:
                owner_mails.normalized(self.cleaned_data["subject"], self.cleaned_data["text"])
            except Invalid as error:
                self.add_error(error.code, error.message)
        return self.cleaned_data


MAIL_OWNERS = StaffAction(
    "mail_owners",
    "Mail the owners",
    "crates.change_crate",
    owner_mails.send,
    done="whose owners get the mail",
    explanation=(
        f"Each owner with an address gets one mail, {owner_mails.MAX_RECIPIENTS:,} owners at most, whatever mails they "
        "have switched off. It cannot be called back."
    ),
    form=OwnerMailForm,
    needs_proof=True,
    together=True,
    applies=lambda crate: mail.is_configured(),
)


@admin.register(OwnerMail)
class OwnerMails(ObjectPage, ReadOnlyAdmin):
    """The mails that staff have written to owners; they are written from the list of crates."""

    list_display = ("subject", "sent_at", "sent_by", "crates", "recipients")
    list_filter = ("sent_at",)
    search_fields = ("subject",)
    list_select_related = ("sent_by",)

    def get_page_queryset(self, request: HttpRequest) -> QuerySet[OwnerMail]:
        return OwnerMail.objects.select_related("sent_by")

    def describe(self, request: HttpRequest, row: OwnerMail) -> Description:
        facts = (
            Fact("Sent", f"to {counted(row.recipients, 'owner')} of {counted(row.crates, 'crate')}"),
            Fact("At", row.sent_at),
            Fact("By", link_to(row.sent_by)),
            Fact("Text", linebreaksbr(row.text)),
        )
        return Description(facts)

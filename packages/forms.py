"""Forms of pages: the answer to an invitation; what may change of a package, and its end."""

from typing import Any

from django import forms

from accounts.forms.account import OwnForm
from accounts.principals import Principal
from namespaces import invitations
from namespaces.forms import MAX_KEY
from namespaces.models import RoleInvitation
from packages import release_input, releasing
from packages.models import Release, Status, Type
from packages.own_roles import KINDS
from packages.presentation import PresentedPackage
from packages.release_input import ReleaseEdit

ACCEPT, DECLINE = "accept", "decline"
PROMISES = {
    Status.SNAPSHOT: "Snapshot: it may be replaced",
    Status.RELEASE: "Release: it never changes again",
    Status.DEPRECATED: "Deprecated: it should not be used any more",
}


class AnswerForm(OwnForm):
    """The two buttons of an invitation; `role` is the one that stood beside them."""

    kind = forms.ChoiceField(choices=[(name, name) for name in KINDS])
    invitation = forms.IntegerField(min_value=1, max_value=MAX_KEY)
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


class PackageForm(OwnForm):
    """A form about a package, as the page shows it."""

    def __init__(self, principal: Principal, package: PresentedPackage, *args: Any, **options: Any) -> None:
        super().__init__(principal, *args, **options)
        self.package = package


class EditForm(PackageForm):
    """The fields that may change: a version that was released keeps its description and its keywords."""

    shown = forms.IntegerField(widget=forms.HiddenInput)  # the version, by its primary key
    type = forms.ChoiceField(
        label="Visibility",
        choices=[(Type.PUBLIC, "Public"), (Type.PRIVATE, "Private")],
        widget=forms.RadioSelect,
        help_text="A private package is for owners and managers of the namespace and for collaborators alone.",
    )
    promise = forms.ChoiceField(label="Status", widget=forms.RadioSelect)
    description = forms.CharField(
        required=False, max_length=release_input.MAX_DESCRIPTION, widget=forms.Textarea({"rows": 3})
    )
    keywords = forms.CharField(
        required=False,
        help_text=f"At most {release_input.MAX_KEYWORDS}, with commas between them.",
        widget=forms.TextInput({"autocapitalize": "none"}),
    )

    fields_of_codes = {
        "type_invalid": "type",
        "status_invalid": "promise",
        "description_invalid": "description",
        "keywords_invalid": "keywords",
    }

    def __init__(self, principal: Principal, package: PresentedPackage, data: Any = None) -> None:
        release = package.release
        initial = {
            "shown": release.pk,
            "type": package.row.type,
            "promise": release.status,
            "description": release.description,
            "keywords": ", ".join(release.keywords),
        }
        super().__init__(principal, package, data, initial=initial)
        statuses = [status for status in PROMISES if not (release.is_final and status is Status.SNAPSHOT)]
        choices = [(status.value, PROMISES[status]) for status in statuses]
        self.fields["promise"].choices = choices  # type: ignore[attr-defined]  # a field with choices
        if release.is_final:
            del self.fields["description"], self.fields["keywords"]

    def clean_description(self) -> str:
        text: str = self.cleaned_data["description"]
        return text.replace("\r\n", "\n")  # which browsers send for each end of a line

    def clean_keywords(self) -> list[str]:
        return [word.strip() for word in self.cleaned_data["keywords"].split(",") if word.strip()]

    def act(self) -> Release:
        data = self.cleaned_data
        edit = ReleaseEdit(
            type=data["type"],
            status=data["promise"],
            description=data.get("description"),
            keywords=data.get("keywords"),
        )
        names = self.package.namespace.name, self.package.name
        return releasing.edit_package(self.principal, *names, edit, self.package.row.pk, expected_release=data["shown"])


class RemoveForm(PackageForm):
    """The button that puts the package into the trash."""

    def act(self) -> bool:
        return releasing.remove_package(self.principal, self.package.namespace.name, self.package.name)

"""The admin pages of files."""

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.contrib.admin import widgets
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import ValidationError
from django.http import HttpRequest

from files import catalogue, local_files, names
from files.actors import Actor
from files.admin.fields import validate_field
from files.models import File
from registry_site.admin.actions import StaffAction
from registry_site.admin.base import CountedAdmin
from registry_site.audit import Action
from registry_site.http.parsers import MAX_BODY_BYTES, check_length


class FileForm(forms.ModelForm):
    upload = forms.FileField(required=False)
    path = forms.CharField(
        required=False, widget=widgets.AdminTextInputWidget, help_text="On the server's disk; or upload the file."
    )
    serve_path = forms.CharField(
        widget=widgets.AdminTextInputWidget,
        help_text="Path on the receiver, such as weather/today.txt.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if ends := self.fields.get("expires_at"):
            for box, part in zip(ends.widget.widgets, ("day", "time"), strict=True):
                box.attrs["aria-label"] = f"Expires at ({part})"

    def clean_serve_path(self) -> str:
        validate_field(names.check_serve_path, self.cleaned_data["serve_path"])
        return str(self.cleaned_data["serve_path"])

    def clean_path(self) -> str:
        path = str(self.cleaned_data["path"])
        if path and "path" in self.changed_data:
            validate_field(local_files.get_local_file, path)
        return path

    def clean_category(self) -> str | None:
        return self.cleaned_data["category"] or None

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        is_refused = not {"path", "upload"}.isdisjoint(self.errors)  # and says so at its field already
        if self.instance.pk is None and not is_refused and bool(cleaned.get("upload")) == bool(cleaned.get("path")):
            raise ValidationError("Give a path on the disk of the server, or a file to upload.")
        return cleaned

    def changes(self) -> dict[str, Any]:
        """Return the changed fields as arguments of the catalogue's verbs."""
        changes = {name: self.cleaned_data[name] for name in self.changed_data}
        upload = changes.pop("upload", None)
        return {**changes, "upload": catalogue.Upload(upload, upload.size)} if upload else changes


def mark_dead(file: File, *, actor: AbstractBaseUser) -> bool:
    """Mark a file as dead; return whether it was alive."""
    return catalogue.mark_all_dead(Actor.from_staff(actor), File.objects.filter(pk=file.pk), Action.FILE_DELETE) > 0


@admin.register(File)
class FileAdmin(CountedAdmin):
    list_display = (
        "id",
        "serve_path",
        "category",
        "size",
        "aired",
        "alive",
        "uploaded_at",
        "modified_at",
        "expires_at",
        "download_total",
    )
    list_display_links = ("id", "serve_path")
    list_filter = ("alive", "aired", "modified_at", "expires_at")
    search_fields = ("serve_path__startswith", "path__startswith", "category__exact")
    search_help_text = "The beginning of a path, or a category."
    form = FileForm
    derived_fields = ("size", "sha256", "alive", "uploaded_at", "modified_at")
    staff_actions = (
        StaffAction(
            "remove",
            "Mark as dead",
            "files.change_file",
            mark_dead,
            done="dead",
            explanation="Clients learn that these files are gone, and cannot fetch them any more. Their bytes stay. "
            "A dead file never comes back: add it again instead.",
            applies=lambda file: file.alive,
        ),
    )

    def check_body_length(self, request: HttpRequest, length: int) -> None:
        """Allow uploads to staff only: Django reads the form before it knows who sends it."""
        may_upload = self.has_add_permission(request) or self.has_change_permission(request)
        check_length(length, settings.MAX_FILE_SIZE + MAX_BODY_BYTES if may_upload else MAX_BODY_BYTES)

    def get_fields(self, request: HttpRequest, obj: File | None = None) -> Any:
        editable = ("serve_path", "path", "upload", "category", "aired", "expires_at")
        return (*editable, *self.derived_fields) if obj else editable

    def get_readonly_fields(self, request: HttpRequest, obj: File | None = None) -> Any:
        return self.derived_fields

    def has_change_permission(self, request: HttpRequest, obj: File | None = None) -> bool:
        """Return False for dead files, which never change again."""
        is_permitted: bool = super().has_change_permission(request, obj)
        return is_permitted and (obj is None or obj.alive)

    def save_model(self, request: HttpRequest, obj: File, form: FileForm, change: bool) -> None:
        user: Any = request.user
        actor = Actor.from_staff(user)
        if change:
            catalogue.update_file(actor, obj.pk, **form.changes())
        else:
            obj.pk = catalogue.add_file(actor, **form.changes()).pk

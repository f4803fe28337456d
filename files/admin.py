"""The admin pages of clients and files. A new key stands on the answer to its creation, and on no other page."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.contrib.admin import widgets
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.cache import patch_cache_control

from files import activity, catalogue, clients, local_files, names
from files.actors import Actor
from files.models import Client, ClientKey, File, Session
from registry_site.admin.base import CountedAdmin, DomainAdmin, ReadOnlyAdmin, ReadOnlyInline
from registry_site.audit import Action
from registry_site.errors import RegistryError
from registry_site.http.parsers import MAX_BODY_BYTES, check_length


def staff_actor(request: HttpRequest) -> Actor:
    return Actor(f"staff {request.user.get_username()}")


def validate_field(check: Callable[[Any], object], value: Any) -> None:
    """Call a rule of the domain; raise `ValidationError` for its refusal, which the form shows at the field."""
    try:
        check(value)
    except RegistryError as error:
        raise ValidationError(error.message) from error


class ClientForm(ModelForm):
    def clean_name(self) -> str:
        validate_field(names.check_client_name, self.cleaned_data["name"])
        return str(self.cleaned_data["name"])

    def clean_roots(self) -> str:
        """Return the directories in the form that is stored; raise `ValidationError` for one beneath no root."""
        directories = [line.strip() for line in self.cleaned_data["roots"].splitlines() if line.strip()]
        # Unchanged ones stay valid, even if the settings no longer have their root.
        if "\n".join(directories) == self.initial.get("roots"):
            return str(self.initial["roots"])
        validate_field(local_files.join_directories, directories)
        return local_files.join_directories(directories)


class KeyInline(ReadOnlyInline):
    model = ClientKey
    fields = ("cipher", "bits", "created_at")
    readonly_fields = fields


class SessionInline(ReadOnlyInline):
    model = Session
    fields = ("created_at", "expires_at", "ended_at", "peer")
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Session]:
        return Session.objects.live()


class LastSeenFilter(admin.SimpleListFilter):
    """Machines that have been silent for long, or were never seen."""

    title = "last seen"
    parameter_name = "silent"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("1", "not for a day"), ("7", "not for 7 days"), ("30", "not for 30 days"), ("never", "never")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Client]) -> QuerySet[Client]:
        value = self.value()
        if value == "never":
            return queryset.filter(last_seen_at=None)
        if value in ("1", "7", "30"):
            return queryset.filter(last_seen_at__lt=timezone.now() - timedelta(days=int(value)))
        return queryset


@admin.register(Client)
class ClientAdmin(DomainAdmin):
    """Clients. A new one receives a key, which is shown once; actions rotate keys, and disable and enable clients."""

    list_display = (
        "name",
        "last_seen_at",
        "last_seen_ip",
        "recent_failures",
        "rights",
        "is_active",
        "maintainer",
        "description",
        "created_at",
    )
    list_filter = (LastSeenFilter, ("last_failure_at", admin.DateFieldListFilter), "is_active", "rights", "created_at")
    search_fields = ("name", "maintainer", "email", "description")
    form = ClientForm
    fields = ("name", "rights", "roots", "description", "maintainer", "email")
    derived_fields = (
        "is_active",
        "created_at",
        "last_seen_at",
        "last_seen_ip",
        "recent_failures",
        "last_failure_at",
        "last_failure_ip",
    )
    inlines = [KeyInline, SessionInline]
    actions = ["rotate", "disable", "enable", "end_sessions"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Client]:
        return activity.with_recent_failures(super().get_queryset(request))

    def get_fields(self, request: HttpRequest, obj: Client | None = None) -> Any:
        return (*self.fields, *self.derived_fields) if obj else self.fields

    def get_readonly_fields(self, request: HttpRequest, obj: Client | None = None) -> Any:
        return ("name", *self.derived_fields) if obj else ()

    @admin.display(description=f"failed handshakes in {activity.SHOWN_DAYS} days", ordering="recent_failures")
    def recent_failures(self, client: Client) -> int:
        return int(client.recent_failures)  # type: ignore[attr-defined]  # annotated by the query

    def get_inlines(self, request: HttpRequest, obj: Client | None) -> Any:
        return self.inlines if obj else []

    def save_model(self, request: HttpRequest, obj: Client, form: ModelForm, change: bool) -> None:
        if change:
            # `changed_data` compares the text of the form, in which line ends differ from those that are stored.
            changed = [name for name in form.changed_data if form.initial[name] != form.cleaned_data[name]]
            clients.update_client(obj, changed, actor=staff_actor(request).name)
            return
        key = clients.generate_key()
        client = clients.add_client(
            obj.name,
            key,
            actor=staff_actor(request).name,
            rights=form.cleaned_data["rights"],
            roots=obj.roots.split("\n") if obj.roots else (),
            **{name: form.cleaned_data[name] for name in ("description", "maintainer", "email")},
        )
        obj.pk = client.pk
        # `ModelAdmin` instances serve all requests, so the key travels on the request to `response_add`.
        request.new_keys = [(client, key)]  # type: ignore[attr-defined]

    def response_add(self, request: HttpRequest, obj: Client, post_url_continue: str | None = None) -> HttpResponse:
        return self._keys_response(request, request.new_keys)  # type: ignore[attr-defined]

    @admin.action(description="Give the selected clients new keys, and end their sessions", permissions=["change"])
    def rotate(self, request: HttpRequest, queryset: QuerySet[Client]) -> HttpResponse:
        keys = [(client, clients.generate_key()) for client in queryset]
        with transaction.atomic():  # all or none: the page after this is the only one that shows the keys
            for client, key in keys:
                clients.rotate_key(client, key, actor=staff_actor(request).name)
        return self._keys_response(request, keys)

    @admin.action(description="Disable the selected clients, and end their sessions", permissions=["change"])
    def disable(self, request: HttpRequest, queryset: QuerySet[Client]) -> None:
        self._set_active(request, queryset, active=False)

    @admin.action(description="Enable the selected clients", permissions=["change"])
    def enable(self, request: HttpRequest, queryset: QuerySet[Client]) -> None:
        self._set_active(request, queryset, active=True)

    @admin.action(description="End the sessions of the selected clients", permissions=["change"])
    def end_sessions(self, request: HttpRequest, queryset: QuerySet[Client]) -> None:
        ended = sum(clients.end_sessions(client, actor=staff_actor(request).name) for client in queryset)
        self.message_user(request, f"{ended} sessions ended.")

    def _set_active(self, request: HttpRequest, queryset: QuerySet[Client], *, active: bool) -> None:
        changed = sum(clients.set_active(client, active=active, actor=staff_actor(request).name) for client in queryset)
        self.message_user(request, f"{changed} {'enabled' if active else 'disabled'}; the others were so before.")

    def _keys_response(self, request: HttpRequest, keys: list[tuple[Client, bytes]]) -> HttpResponse:
        in_hex = [(client, key.hex()) for client, key in keys]
        context = {**self.admin_site.each_context(request), "title": "New keys", "opts": self.opts, "keys": in_hex}
        response = TemplateResponse(request, "admin/files/client/keys.html", context)
        patch_cache_control(response, no_store=True)
        return response


@admin.register(Session)
class SessionAdmin(ReadOnlyAdmin):
    list_display = ("client", "peer", "created_at", "expires_at", "ended_at", "live")
    list_filter = (("ended_at", admin.EmptyFieldListFilter), "created_at", "expires_at")
    search_fields = ("client__name", "peer")
    list_select_related = ("client",)
    actions = ["end"]

    @admin.display(boolean=True)
    def live(self, session: Session) -> bool:
        return session.is_live

    def has_end_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("files.change_session")

    @admin.action(description="End the selected sessions", permissions=["end"])
    def end(self, request: HttpRequest, queryset: QuerySet[Session]) -> None:
        ended = sum(clients.end_session(session, actor=staff_actor(request).name) for session in queryset)
        self.message_user(request, f"{ended} ended; the others had ended before.")


class FileForm(ModelForm):
    upload = forms.FileField(required=False)
    path = forms.CharField(
        required=False, widget=widgets.AdminTextInputWidget, help_text="On the server's disk; or upload the file."
    )
    serve_path = forms.CharField(
        widget=widgets.AdminTextInputWidget,
        help_text="Path on the receiver, such as weather/today.txt.",
    )

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
    date_hierarchy = None
    show_full_result_count = False
    form = FileForm
    derived_fields = ("size", "sha256", "alive", "uploaded_at", "modified_at")
    actions = ["remove"]

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
        if change:
            catalogue.update_file(staff_actor(request), obj.pk, **form.changes())
        else:
            obj.pk = catalogue.add_file(staff_actor(request), **form.changes()).pk

    @admin.action(description="Mark the selected files as dead", permissions=["change"])
    def remove(self, request: HttpRequest, queryset: QuerySet[File]) -> None:
        died = catalogue.mark_all_dead(staff_actor(request), queryset, Action.FILE_DELETE)
        self.message_user(request, f"{died} are dead now; the others were before. Their bytes stay.")

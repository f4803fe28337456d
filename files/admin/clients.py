"""The admin pages of clients. A new key stands on the answer to its creation, and on no other page."""

from datetime import timedelta
from functools import partial
from typing import Any

from django.contrib import admin
from django.contrib.auth.base_user import AbstractBaseUser
from django.db.models import Q, QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone

from files import activity, clients, local_files, names
from files.admin import client_page
from files.admin.fields import validate_field
from files.models import Client, FetchedFile, Session
from registry_site.admin.actions import StaffAction
from registry_site.admin.base import ReadOnlyAdmin
from registry_site.admin.lists import TextFilter, state_filter
from registry_site.admin.object_pages import Description, ObjectPage, object_url
from registry_site.staff_runs import Shown

MAX_NEW_KEYS = 100  # at once: each has to be copied from the page that shows it


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


def rotate(client: Client, *, actor: AbstractBaseUser) -> str:
    """Give a client a new key; return it in hexadecimal digits."""
    key = clients.generate_key()
    clients.rotate_key(client, key, actor=actor)
    return key.hex()


@admin.register(Client)
class ClientAdmin(ObjectPage):
    """Clients. A new one receives a key, which is shown once; actions rotate keys, and disable and enable clients."""

    list_display = (
        "name",
        "is_active",
        "last_seen_at",
        "last_seen_ip",
        "recent_failures",
        "rights",
        "maintainer",
        "description",
        "created_at",
    )
    list_filter = (LastSeenFilter, "last_failure_at", "is_active", "rights", "created_at")
    search_fields = ("name", "maintainer", "email", "description")
    address_columns = ("last_seen_ip", "last_failure_ip")
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
    staff_actions = (
        StaffAction(
            "rotate",
            "Make a new key",
            "files.change_client",
            rotate,
            done="with a new key",
            explanation="Each gets a new key, which is shown once, and its sessions end. The former keys are good for "
            "nothing any more.",
            max_rows=MAX_NEW_KEYS,
            needs_proof=True,
        ),
        StaffAction(
            "disable",
            "Disable",
            "files.change_client",
            partial(clients.set_active, active=False),
            done="disabled",
            explanation="They cannot log in any more, and their sessions end.",
            undo="enable",
            applies=lambda client: client.is_active,
        ),
        StaffAction(
            "enable",
            "Enable",
            "files.change_client",
            partial(clients.set_active, active=True),
            done="enabled",
            undo="disable",
            applies=lambda client: not client.is_active,
        ),
        StaffAction(
            "end_sessions",
            "End the sessions",
            "files.change_client",
            lambda client, *, actor: clients.end_sessions(client, actor=actor) > 0,
            done="without sessions",
            explanation="They can log in again with their keys.",
            applies=lambda client: client.session_count > 0,
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Client]:
        return activity.with_recent_failures(super().get_queryset(request))

    def get_fields(self, request: HttpRequest, obj: Client | None = None) -> Any:
        return (*self.fields, *self.derived_fields) if obj else self.fields

    def get_readonly_fields(self, request: HttpRequest, obj: Client | None = None) -> Any:
        return ("name", *self.derived_fields) if obj else ()

    @admin.display(description=f"failures, {activity.SHOWN_DAYS} days", ordering="recent_failures")
    def recent_failures(self, client: Client) -> int:
        return int(client.recent_failures)  # type: ignore[attr-defined]  # annotated by the query

    def get_page_queryset(self, request: HttpRequest) -> QuerySet[Client]:
        return client_page.page_queryset()

    def describe(self, request: HttpRequest, row: Client) -> Description:
        return client_page.describe(request, row)

    def add_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        if request.method == "GET" and (confirm_url := self.proof_url(request, request.path)):
            return HttpResponseRedirect(confirm_url)
        return super().add_view(request, *args, **kwargs)

    def save_model(self, request: HttpRequest, obj: Client, form: ModelForm, change: bool) -> None:
        actor: Any = request.user
        if change:
            # `changed_data` compares the text of the form, in which line ends differ from those that are stored.
            changed = [name for name in form.changed_data if form.initial[name] != form.cleaned_data[name]]
            clients.update_client(obj, changed, actor=actor)
            return
        self.require_proof(request)
        key = clients.generate_key()
        obj.pk = clients.add_client(
            obj.name,
            key,
            actor=actor,
            rights=form.cleaned_data["rights"],
            roots=obj.roots.split("\n") if obj.roots else (),
            **{name: form.cleaned_data[name] for name in ("description", "maintainer", "email")},
        ).pk
        # `ModelAdmin` instances serve all requests, so the key travels on the request to `response_add`.
        request.new_key = key  # type: ignore[attr-defined]

    def response_add(self, request: HttpRequest, obj: Client, post_url_continue: str | None = None) -> HttpResponse:
        shown = [Shown(str(obj), request.new_key.hex())]  # type: ignore[attr-defined]
        return self.render_shown(request, "New key", shown, object_url(Client, obj.pk), "The page of the client")


@admin.register(Session)
class SessionAdmin(ReadOnlyAdmin):
    list_display = ("client", "peer", "created_at", "expires_at", "ended_at", "live")
    list_filter = (("ended_at", state_filter("state", "not ended early", "ended early")), "created_at", "expires_at")
    search_fields = ("client__name",)
    search_help_text = "A part of a machine's name; an address or a network."
    address_columns = ("peer",)
    list_select_related = ("client",)
    staff_actions = (
        StaffAction(
            "end",
            "End",
            "files.change_session",
            clients.end_session,
            done="ended",
            explanation="The clients can log in again with their keys.",
            applies=lambda session: session.is_live,
        ),
    )

    @admin.display(boolean=True)
    def live(self, session: Session) -> bool:
        return session.is_live


class MachineFilter(TextFilter):
    title = parameter_name = "machine"
    help_text = "The whole name of a machine."

    def condition(self, text: str) -> Q:
        return Q(client__in=Client.objects.filter(name=text).values("pk"))


@admin.register(FetchedFile)
class FetchedFileAdmin(ReadOnlyAdmin):
    """What machines have fetched last, and when."""

    list_display = ("file", "client", "fetched_at")
    list_filter = ("fetched_at", MachineFilter)
    list_select_related = ("file", "client")
    sortable_by = ()

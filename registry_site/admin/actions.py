"""Actions of staff: chosen in a list or on another page, each has a page that says what it will do, and asks why."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from http import HTTPStatus
from typing import Any, ClassVar
from urllib.parse import urlencode
from uuid import UUID, uuid4

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.options import IS_POPUP_VAR
from django.contrib.admin.widgets import AdminTextareaWidget
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.cache import patch_cache_control

from registry_site import staff_runs
from registry_site.admin.keys import require_possible_key
from registry_site.errors import ConfirmationRequired, Invalid, PermissionDenied, RegistryError
from registry_site.event_sentences import sentence_of
from registry_site.http.request_log import annotate
from registry_site.models import AuditEvent, StaffRun
from registry_site.staff_runs import MAX_ROWS, RanBefore, Shown

SHOWN_NAMES = 20
SHOWN_EVENTS = 3  # of a row, since the run that is to be undone
MAX_ADDRESS_LENGTH = 2000  # servers and proxies refuse much longer ones
MAX_REASON_LENGTH = 500


class ActionForm(forms.Form):
    """The form of an action, with a reason that stands in the record of its run."""

    reason = forms.CharField(
        required=False,
        max_length=MAX_REASON_LENGTH,
        widget=AdminTextareaWidget({"rows": 3}),
        help_text="For other staff: it stands in the record of this action.",
    )

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of the verb."""
        return {name: value for name, value in self.cleaned_data.items() if name != "reason"}


class ReasonForm(ActionForm):
    """The form of an action whose verb takes a reason, and needs one."""

    reason = forms.CharField(max_length=MAX_REASON_LENGTH, widget=AdminTextareaWidget({"rows": 3}))

    def arguments(self) -> dict[str, Any]:
        return self.cleaned_data


Effects = Mapping[Any, Sequence[str]]  # sentences, or HTML, by the keys of rows


@dataclass(frozen=True)
class StaffAction:
    """An action on rows of a model.

    `apply(row, actor=…, **arguments of the form)` calls the domain's verb for one row. It returns whether that changed
    the row, or a text that is shown once, such as a new key. `refusals(actor, rows)` returns why rows are left out, by
    their keys, for all of them at once; `warnings(rows)` what staff may overlook. `applies` says of the row of a page
    whether the verb could change it.
    """

    name: str
    label: str  # in the menu, on buttons and as a title, such as "Ban"
    permission: str
    apply: Callable[..., Any]
    done: str  # of a changed row, such as "banned"
    explanation: str = ""  # what will happen, and whether that can be undone
    form: type[ActionForm] = ActionForm
    needs_proof: bool = False
    undo: str = ""  # the action that undoes this one: its name, after the label of its model if that is another one
    by_run: bool = False  # whether it only undoes runs; `apply` gets their `events` about the row
    refusals: Callable[[Any, Sequence[Any]], Mapping[Any, str]] | None = None
    other_permission: str = ""  # that is needed as well
    max_rows: int = MAX_ROWS
    together: bool = False  # whether `apply` gets the list of all rows at once; its refusals are shown in the form
    applies: Callable[[Any], bool] = lambda row: True
    not_oneself: str = ""  # why the account of the actor is left out
    warnings: Callable[[Sequence[Any]], Mapping[Any, str]] | None = None
    effects: Callable[[Sequence[Any]], Effects] | None = None  # what it means for each row, which the page says

    def is_permitted(self, user: Any) -> bool:
        """Return whether the user may use this action at all."""
        return bool(user.has_perms([name for name in (self.permission, self.other_permission) if name]))

    def effects_of(self, rows: Sequence[Any]) -> Effects:
        return self.effects(rows) if self.effects else {}

    def refusals_of(self, actor: Any, rows: Sequence[Any]) -> Mapping[Any, str]:
        others = self.refusals(actor, rows) if self.refusals else {}
        return {**others, **{row.pk: self.not_oneself for row in rows if self.is_refused_to_oneself(actor, row)}}

    def is_refused_to_oneself(self, actor: Any, row: Any) -> bool:
        return bool(self.not_oneself) and bool(row == actor)


@dataclass(frozen=True)
class Selection:
    """The rows that an action was chosen for, and the run that it undoes, if it was chosen to undo one."""

    rows: Sequence[Any]
    undoes: StaffRun | None = None
    missing: Sequence[str] = ()  # the names of rows that the run has changed, and that are not here any more

    @property
    def keys(self) -> str:
        return ",".join(str(row.pk) for row in self.rows)


class StaffActionsAdmin(admin.ModelAdmin):
    """Pages of a model with actions of staff."""

    staff_actions: ClassVar[Sequence[StaffAction]] = ()

    def get_urls(self) -> Any:
        prefix = f"{self.opts.app_label}_{self.opts.model_name}"
        view = self.admin_site.admin_view(self.act_view)
        return [path("act/<slug:name>/", view, name=f"{prefix}_act"), *super().get_urls()]

    def permitted_actions(self, request: HttpRequest) -> list[StaffAction]:
        """Return the actions that this member of staff may use, in their order."""
        may_view = self.has_view_or_change_permission(request)
        return [action for action in self.staff_actions if may_view and action.is_permitted(request.user)]

    def get_actions(self, request: HttpRequest) -> Any:
        """Add the actions of staff to Django's in the menu of the list. Each leads to its page."""
        actions: dict[str, Any] = super().get_actions(request)
        if IS_POPUP_VAR not in request.GET:
            for action in self.permitted_actions(request):
                if action.by_run:
                    continue
                actions[action.name] = (opener(action), action.name, action.label.replace("%", "%%"))
        return actions

    def get_applicable_actions(self, request: HttpRequest, row: Any) -> list[tuple[str, str]]:
        """Return the labels of the actions that this member of staff can use on a row, each with its page."""
        permitted = [action for action in self.permitted_actions(request) if not action.by_run]
        actions = offered(permitted, request.user, row)
        return [(action.label, self.act_url(action, str(row.pk))) for action in actions]

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Add the buttons of the row: Django offers actions in lists alone."""
        row = kwargs.get("obj")
        buttons = self.get_form_buttons(request, row) if row is not None else []
        return super().render_change_form(request, {**context, "row_buttons": buttons}, *args, **kwargs)

    def get_form_buttons(self, request: HttpRequest, row: Any) -> list[tuple[str, str]]:
        """Return the labels of the buttons above the form of a row, each with its page."""
        return self.get_applicable_actions(request, row)

    # --- The page of an action -----------------------------------------------------------------------------------

    def act_url(self, action: StaffAction, keys: str = "", undoes: StaffRun | None = None) -> str:
        """Return the address of an action's page, for rows by their keys or for those that a run has changed."""
        url = reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_act", args=[action.name])
        query = {**({"pk": keys} if keys else {}), **({"undo": str(undoes.pk)} if undoes else {})}
        return f"{url}?{urlencode(query, safe=',')}" if query else url

    def open_action(self, request: HttpRequest, action: StaffAction, queryset: QuerySet[Any]) -> HttpResponse:
        """Show the page of an action for the rows that were chosen in a list."""
        keys = [str(key) for key in queryset.values_list("pk", flat=True)[: action.max_rows + 1]]
        selection = Selection(self.get_chosen_rows(request, action, keys))
        url = self.act_url(action, selection.keys)
        confirm_url = self.confirm_url(request, action, url)
        if confirm_url and len(url) <= MAX_ADDRESS_LENGTH:
            return HttpResponseRedirect(confirm_url)
        return self.render_action(request, action, selection, action.form())

    def act_view(self, request: HttpRequest, name: str) -> HttpResponse:
        """`…/act/NAME/`: the page of an action for the rows in `?pk=` or of the run in `?undo=`; by POST it runs."""
        action = find_action(self.staff_actions, name)
        if action is None:
            raise Http404
        if action not in self.permitted_actions(request):
            message = f"{action.label}: your account lacks this right. An administrator can give it, or do this."
            raise PermissionDenied(message)
        try:
            return self.run_action(request, action) if request.method == "POST" else self.show_action(request, action)
        except Invalid as error:
            self.message_user(request, error.message, messages.ERROR)
            return HttpResponseRedirect(self.list_url())

    def show_action(self, request: HttpRequest, action: StaffAction) -> HttpResponse:
        selection = self.get_selection(request, action, request.GET)
        if confirm_url := self.confirm_url(request, action, request.get_full_path()):
            return HttpResponseRedirect(confirm_url)
        return self.render_action(request, action, selection, action.form())

    def run_action(self, request: HttpRequest, action: StaffAction) -> HttpResponse:
        selection = self.get_selection(request, action, request.POST)
        form = action.form(request.POST, request.FILES)
        if action.effects and request.POST.get("effects") != digest_of(action.effects_of(selection.rows)):
            form.add_error(None, "What this does has changed since the page was opened. Please read it again.")
        if not form.is_valid() or self.confirm_url(request, action, ""):
            return self.render_action(request, action, selection, form)
        user: Any = request.user
        key = run_key(request.POST.get("run", ""))
        try:
            run = staff_runs.begin(
                key,
                actor=user,
                total=len(selection.rows) + len(selection.missing),
                undoes=selection.undoes,
                model=self.opts.label_lower,
                action=action.name,
                label=action.label,
                done=action.done,
                reason=form.cleaned_data["reason"],
            )
        except RanBefore as error:
            self.message_user(request, error.message, messages.WARNING)
            return HttpResponseRedirect(run_url(key))
        for name in selection.missing:
            staff_runs.add_problem(run, "refused", name, staff_runs.GONE)
        apply = partial(action.apply, actor=user, **form.arguments())
        if action.by_run and selection.undoes:
            events = staff_runs.events_by_row(selection.undoes, self.opts.label_lower)
            apply = partial(undo_row, apply, events)
        refusals = self.refusals_of(user, action, selection)
        if action.together:
            try:
                staff_runs.change_together(run, selection.rows, apply, refusals)
            except RegistryError as error:
                form.add_error(error.code if error.code in form.fields else None, error.message)
                return self.render_action(request, action, selection, form)
            return HttpResponseRedirect(run_url(run.pk))
        shown = staff_runs.change_rows(run, selection.rows, apply, refusals)
        if message := staff_runs.refusal_of_one(run):
            form.add_error(None, message)
            return self.render_action(request, action, selection, form)
        if shown:
            return self.render_shown(request, action.label, shown, run_url(run.pk), "What this run did")
        return HttpResponseRedirect(run_url(run.pk))

    def undo_of(self, run: StaffRun) -> tuple["StaffActionsAdmin", StaffAction] | None:
        """Return the action that undoes a run, with the page of its rows; None if there is none."""
        done_on = page_of(self.admin_site, run.model)
        action = find_action(done_on.staff_actions, run.action) if done_on else None
        if action is None or not action.undo:
            return None
        label, _, name = action.undo.rpartition(" ")
        page = page_of(self.admin_site, label) if label else done_on
        inverse = find_action(page.staff_actions, name) if page else None
        return (page, inverse) if page and inverse else None

    def render_action(
        self, request: HttpRequest, action: StaffAction, selection: Selection, form: ActionForm
    ) -> HttpResponse:
        refusals = self.refusals_of(request.user, action, selection)
        effects = action.effects_of(selection.rows)
        changing = [row for row in selection.rows if row.pk not in refusals]
        refused = [(row, refusals[row.pk]) for row in selection.rows if row.pk in refusals]
        warnings = list(action.warnings(changing).values()) if action.warnings else []
        refused += [(name, staff_runs.GONE) for name in selection.missing]
        shown = changing[:SHOWN_NAMES]
        later = self.later_sentences(request, selection, shown)
        if form.errors:
            annotate(code="invalid")
        context = {
            **self.admin_site.each_context(request),
            "title": f"{action.label}: {title_of(selection.rows, self.opts)}",
            "opts": self.opts,
            "action": action,
            "form": form,
            "selection": selection,
            "changing": [(row, [*effects.get(row.pk, ()), *later.get(row.pk, ())]) for row in shown],
            "effects": digest_of(effects) if action.effects else "",
            "more_changing": max(len(changing) - SHOWN_NAMES, 0),
            "total": counted(len(changing), self.opts),
            "can_run": bool(changing),
            "refused": refused[:SHOWN_NAMES],
            "more_refused": max(len(refused) - SHOWN_NAMES, 0),
            "warnings": warnings[:SHOWN_NAMES],
            "more_warnings": max(len(warnings) - SHOWN_NAMES, 0),
            "run": request.POST.get("run") or uuid4(),
            "act_url": self.act_url(action),
            "list_url": self.list_url(),
            "cancel_url": self.back_url(selection.rows),
            "confirm_url": self.confirm_url(request, action, self.list_url()),
        }
        status = HTTPStatus.BAD_REQUEST if form.errors else HTTPStatus.OK
        return TemplateResponse(request, "admin/action.html", context, status=status)

    def refusals_of(self, user: Any, action: StaffAction, selection: Selection) -> Mapping[Any, str]:
        """Return why rows are left out, by their keys; of the rows of a run also those to which it was done anew."""
        refusals = action.refusals_of(user, selection.rows)
        if selection.undoes is None or action.by_run:  # those verbs compare the row with the events of the run
            return refusals
        keys = [row.pk for row in selection.rows]
        anew = staff_runs.rows_done_anew(selection.undoes, self.opts.label_lower, keys)
        return {**dict.fromkeys(anew, staff_runs.DONE_ANEW), **refusals}

    def later_sentences(self, request: HttpRequest, selection: Selection, rows: Sequence[Any]) -> Effects:
        """Return what has happened to rows since the run that is to be undone, for who may view events."""
        if selection.undoes is None or not request.user.has_perm("registry_site.view_auditevent"):
            return {}
        events = staff_runs.later_events(selection.undoes, self.opts.label_lower, [row.pk for row in rows])
        return {key: list(map(later_sentence, newest[:SHOWN_EVENTS])) for key, newest in events.items()}

    def render_shown(
        self, request: HttpRequest, title: str, shown: Sequence[Shown], next_url: str, next_page: str
    ) -> HttpResponse:
        """Show texts that no other page shows, and the way to the next page."""
        context = {
            **self.admin_site.each_context(request),
            "title": title,
            "opts": self.opts,
            "shown": shown,
            "next_url": next_url,
            "next_page": next_page,
        }
        response = TemplateResponse(request, "admin/shown_once.html", context)
        patch_cache_control(response, no_store=True)
        return response

    def confirm_url(self, request: HttpRequest, action: StaffAction, path: str) -> str:
        """Return where staff prove themselves before this action, and go on to a path; empty if they have."""
        return self.proof_url(request, path) if action.needs_proof else ""

    def proof_url(self, request: HttpRequest, path: str) -> str:
        """Return where staff prove themselves, and go on to a path; empty if they have."""
        site: Any = self.admin_site
        return str(site.confirm_url(request, path))

    def require_proof(self, request: HttpRequest) -> None:
        """Raise `ConfirmationRequired` unless staff have proven themselves lately."""
        if path := self.proof_url(request, request.path):
            raise ConfirmationRequired(
                f"It is more than 15 minutes since you signed in: open {path} in a new tab, confirm that it is you, "
                "and send this form again."
            )

    def back_url(self, rows: Sequence[Any]) -> str:
        """Return where staff go on who do not act on these rows."""
        return self.list_url()

    def list_url(self) -> str:
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist")

    # --- The chosen rows -----------------------------------------------------------------------------------------

    def get_selection(self, request: HttpRequest, action: StaffAction, fields: Mapping[str, Any]) -> Selection:
        """Return the rows that the fields of a form or an address name; raises `Invalid`."""
        if not (undo := fields.get("undo")):
            keys = [key for key in fields.get("pk", "").split(",") if key]
            if action.by_run:
                raise Invalid("This only undoes runs: choose “Undo” on the page of one.")
            return Selection(self.get_chosen_rows(request, action, keys))
        undoes = StaffRun.objects.filter(pk=run_key(undo)).first()
        if undoes is None:
            raise Invalid("There is no such run.")
        if self.undo_of(undoes) != (self, action):
            raise Invalid("This action does not undo that run.")
        changed = staff_runs.changed_rows(undoes, self.opts.label_lower)  # and no others, or the record would be wrong
        rows = self.get_chosen_rows(request, action, list(map(str, changed)))
        present = {row.pk for row in rows}
        return Selection(rows, undoes, [name for key, name in changed.items() if key not in present])

    def get_chosen_rows(self, request: HttpRequest, action: StaffAction, keys: Sequence[str]) -> list[Any]:
        """Return the rows of these keys that staff see; raises `Invalid` for none, too many or impossible ones."""
        if len(keys) > action.max_rows:
            raise Invalid(
                f"{action.label}: choose at most {action.max_rows:,} rows at once. Filter the list, and do it for one "
                "part after another."
            )
        for key in keys:
            require_possible_key(self.model, key)
        chosen = self.get_queryset(request).filter(pk__in=keys)
        related = self.list_select_related
        if related and not isinstance(related, bool):  # refusals and names need what the list needs
            chosen = chosen.select_related(*related)
        rows = list(chosen)
        if not rows:
            raise Invalid("None of the chosen rows exist any more." if keys else "Choose rows first.")
        return rows


def undo_row(apply: Callable[..., Any], events: Mapping[int, Sequence[AuditEvent]], row: Any) -> Any:
    """Undo what the events of a run have changed of a row."""
    return apply(row, events=events[row.pk])


def page_of(site: Any, label: str) -> StaffActionsAdmin | None:
    """Return the page of a model by its label, such as accounts.user; None if there is none."""
    pages = {model._meta.label_lower: page for model, page in site._registry.items()}
    return pages.get(label)


def later_sentence(event: AuditEvent) -> str:
    """Return what has happened to a row since, by whom and when."""
    return f"Since then: {sentence_of(event)} By {event.actor_name}, {event.at:%Y-%m-%d %H:%M} UTC."


def opener(action: StaffAction) -> Callable[..., HttpResponse]:
    """Return the function that Django's list calls for an action."""

    def open_page(model_admin: StaffActionsAdmin, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse:
        return model_admin.open_action(request, action, queryset)

    return open_page


def run_key(text: str) -> UUID:
    """Return the key of a run; raises `Invalid`."""
    try:
        return UUID(text)
    except ValueError as error:
        raise Invalid("The form lacks the id of its run; open the page of the action again.") from error


def run_url(key: Any) -> str:
    return reverse("admin:registry_site_staffrun_page", args=[key])


def digest_of(effects: Effects) -> str:
    """Return what stands for the effects in the form: staff confirm these, and no others that came meanwhile."""
    return sha256(
        repr(sorted((str(key), list(map(str, lines))) for key, lines in effects.items())).encode()
    ).hexdigest()


def counted(number: int, opts: Any) -> str:
    """Return a number with the name of the rows, such as 3 users."""
    return f"{number:,} {opts.verbose_name if number == 1 else opts.verbose_name_plural}"


def title_of(rows: Sequence[Any], opts: Any) -> str:
    """Return the name of an only row, or how many there are."""
    return str(rows[0])[:100] if len(rows) == 1 else counted(len(rows), opts)


def offered(actions: Iterable[StaffAction], actor: Any, row: Any) -> list[StaffAction]:
    """Return the actions that apply to a row, and that nothing refuses to the actor there."""
    applying = [action for action in actions if action.applies(row) and not action.is_refused_to_oneself(actor, row)]
    rules = {action.refusals for action in applying if action.refusals}  # many actions share one, which reads rows
    refusing = {rule for rule in rules if rule(actor, [row])}
    return [action for action in applying if action.refusals not in refusing]


def find_action(actions: Iterable[StaffAction], name: str) -> StaffAction | None:
    """Return the action of this name, if there is one."""
    return next((action for action in actions if action.name == name), None)

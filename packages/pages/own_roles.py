"""Pages of one's own account about namespaces and packages: one's roles, and invitations to others."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from accounts.pages.frame import own_page
from accounts.pages.sign_in import FORM_METHODS
from accounts.principals import Principal
from namespaces.forms import NamespaceForm
from namespaces.models import Role, RoleInvitation
from packages import own_roles
from packages.forms import AnswerForm
from registry_site import paging
from registry_site.forms import posted, render_form

INVITATIONS = "/account/invitations"


@require_http_methods(FORM_METHODS)
@never_cache
@own_page
def namespaces(request: HttpRequest, principal: Principal) -> HttpResponse:
    """`/account/namespaces?page=`: one's roles; by POST it makes a namespace."""
    form = NamespaceForm(principal, posted(request))
    if form.is_bound and form.submit():
        messages.success(request, f"The namespace {form.result} is yours.")
        return HttpResponseRedirect(form.result.page_path)
    number = paging.number_of(request)
    roles = own_roles.list_roles(principal.user, number)
    ways = paging.ways(request, number, [*roles.memberships, *roles.collaborations], roles.has_next)
    return render_form(request, "packages/own_roles.html", form, roles=roles, **ways)


@require_http_methods(FORM_METHODS)
@never_cache
@own_page
def invitations(request: HttpRequest, principal: Principal) -> HttpResponse:
    """`/account/invitations`: the open ones; by POST it answers one."""
    if request.method == "POST":
        return answer(request, principal)
    rows = [present(invitation) for invitation in own_roles.list_invitations(principal.user)]
    return render(request, "packages/own_invitations.html", {"rows": rows})


def present(invitation: RoleInvitation) -> dict[str, Any]:
    kind = own_roles.KINDS[invitation.subject_field]
    return {"invitation": invitation, "kind": kind, "ability": kind.abilities[Role(invitation.role)]}


def answer(request: HttpRequest, principal: Principal) -> HttpResponse:
    """Answer an invitation, and lead on to what was accepted, or back to the list."""
    form = AnswerForm(principal, request.POST)
    if not form.submit():
        messages.error(request, form.refusal.message if form.refusal else "This is no answer to an invitation.")
        return HttpResponseRedirect(INVITATIONS)
    subject = form.result.subject
    if form.is_accepted:
        messages.success(request, f"Your role in {subject} is {form.result.get_role_display()} now.")
        return HttpResponseRedirect(subject.page_path)
    messages.success(request, f"You have declined the invitation to {subject}.")
    return HttpResponseRedirect(INVITATIONS)

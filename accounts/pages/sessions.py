"""`/account/sessions` and `/account/events`: where one is signed in, and what happened."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render

from accounts import own_events, user_agents
from accounts.credentials import own_sessions
from accounts.forms.account import EndSessionsForm
from accounts.forms.events import BeforeForm
from accounts.pages.frame import own_page
from accounts.principals import Principal
from registry_site.event_sentences import sentence_of
from registry_site.forms import posted, render_form


@own_page
def sessions(request: HttpRequest, principal: Principal) -> HttpResponse:
    """`/account/sessions`"""
    form = EndSessionsForm(principal, posted(request))
    if form.is_bound and form.submit():
        messages.success(request, "Done: it counts from the next request on.")
        return HttpResponseRedirect(request.path)
    rows = [
        {"session": session, "device": user_agents.describe(session.user_agent)}
        for session in own_sessions.list_sessions(principal)
    ]
    return render_form(request, "accounts/sessions.html", form, rows=rows, own=principal.credential)


@own_page
def events(request: HttpRequest, principal: Principal) -> HttpResponse:
    """`/account/events`"""
    page = own_events.list_events(principal, BeforeForm(request.GET).before_key)
    rows = [{"event": event, "sentence": sentence_of(event)} for event in page.events]
    following = f"{request.path}?before={page.next_before}" if page.next_before else ""
    context = {"rows": rows, "next": following, "account": principal.user}
    return render(request, "accounts/events.html", context)

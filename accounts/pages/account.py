"""`/account`: the profile, with a form for each change, and the end of the account."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render

from accounts import closing
from accounts.credentials import browser_sessions
from accounts.forms.account import AvatarForm, CloseForm, EmailForm, NameForm, PasswordForm
from accounts.pages.frame import confirmed_page, own_page
from accounts.principals import Principal
from registry_site.forms import VerbForm, posted, render_form

PROFILE = "/account"


@own_page
def profile(request: HttpRequest, principal: Principal) -> HttpResponse:
    """`/account`"""
    return render(request, "accounts/profile.html", {"account": principal.user})


@confirmed_page
def name(request: HttpRequest, principal: Principal) -> HttpResponse:
    """`/account/name`"""
    form = NameForm(principal, posted(request), initial={"username": principal.user.username})
    return answer(request, form, "accounts/change_name.html", "Your user name is changed.", account=principal.user)


@confirmed_page
def email(request: HttpRequest, principal: Principal) -> HttpResponse:
    """`/account/email`: in effect once the new address and the former one have been confirmed."""
    form = EmailForm(principal, posted(request))
    if form.is_bound and form.submit():
        messages.success(request, form.sentence)
        return HttpResponseRedirect(PROFILE)
    return render_form(request, "accounts/change_email.html", form, account=principal.user)


@own_page
def avatar(request: HttpRequest, principal: Principal) -> HttpResponse:
    """`/account/avatar`"""
    form = AvatarForm(principal, posted(request), initial={"avatar_uri": principal.user.avatar_uri})
    return answer(request, form, "accounts/change_avatar.html", "Your picture is changed.")


@confirmed_page
def password(request: HttpRequest, principal: Principal) -> HttpResponse:
    """`/account/password`"""
    form = PasswordForm(principal, request, posted(request))
    done = "Your password is changed. All other sessions have ended."
    return answer(request, form, "accounts/change_password.html", done, account=principal.user)


@confirmed_page
def close(request: HttpRequest, principal: Principal) -> HttpResponse:
    """`/account/close`"""
    form = CloseForm(principal, posted(request))
    if form.is_bound and form.submit():
        browser_sessions.log_out(request)
        messages.success(request, "Your account is closed.")
        return HttpResponseRedirect("/")
    sole_ownerships = closing.list_sole_ownerships(principal.user)
    return render_form(request, "accounts/close.html", form, sole_ownerships=sole_ownerships, account=principal.user)


def answer(request: HttpRequest, form: VerbForm, template: str, sentence: str, **context: Any) -> HttpResponse:
    """Go back to the profile with a sentence once the change is made; until then return the page of the form."""
    if form.is_bound and form.submit():
        messages.success(request, sentence)
        return HttpResponseRedirect(PROFILE)
    return render_form(request, template, form, **context)

"""Pages of people: the crates that they own, and what other rooms have of them."""

from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from accounts import works
from accounts.credentials import browser_sessions
from accounts.models import User
from crates.pages import lists
from registry_site import visitors


@require_safe
def person(request: HttpRequest, login: str) -> HttpResponse:
    """`GET /people/{login}?sort=&page=`"""
    visitors.require_reader(request)
    user = User.objects.get_named(login)
    if user.username != login:
        return HttpResponseRedirect(reverse("person", args=[user.username]))
    context: dict[str, Any] = {
        "person": user,
        "works": works.works_of(user, viewer=browser_sessions.get_viewer(request)),
        **lists.crate_context(request, user_id=user.pk),
    }
    return render(request, "crates/person.html", context)

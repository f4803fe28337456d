"""`/account`: the profile."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from accounts.pages.frame import own_page
from accounts.principals import Principal


@own_page
def profile(request: HttpRequest, principal: Principal) -> HttpResponse:
    """`/account`"""
    return render(request, "accounts/profile.html", {"user": principal.user})

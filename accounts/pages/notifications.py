"""Pages about mails: which of them one gets, and the link in each that switches its kind off."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from accounts import notification_choices, notifications
from accounts.forms.notifications import NotificationsForm
from accounts.models import User
from accounts.pages.frame import own_page
from accounts.pages.sign_in import FORM_METHODS
from accounts.principals import Principal
from registry_site import mail
from registry_site.forms import posted, render_form
from registry_site.http.error_handlers import set_error_page

PATH = "/account/notifications"


@require_http_methods(FORM_METHODS)
@never_cache
@own_page
def choices(request: HttpRequest, principal: Principal) -> HttpResponse:
    """`/account/notifications`: a box for each kind of mails."""
    form = NotificationsForm(principal, posted(request))
    if form.is_bound and form.submit():
        messages.success(request, "Your choice is stored.")
        return HttpResponseRedirect(PATH)
    context = {
        "sends_mail": mail.is_configured(),
        "account": principal.user,
        "has_address": notifications.with_address(User.objects.filter(pk=principal.user.pk)).exists(),
    }
    return render_form(request, "accounts/notifications.html", form, **context)


@csrf_exempt  # the token is signed, and mail programs send the POST (RFC 8058)
@require_http_methods(FORM_METHODS)
@never_cache
def unsubscribe(request: HttpRequest, token: str) -> HttpResponse:
    """`/unsubscribe/{token}`: a button, and by POST no more mails of this kind, without a sign-in."""
    set_error_page(request, "accounts/link_ended.html", again=PATH, way_on="Choose your mails")
    is_done = request.method == "POST"
    link = notification_choices.unsubscribe(token) if is_done else notification_choices.read_link(token)
    return render(request, "accounts/unsubscribe.html", {"link": link, "is_done": is_done})

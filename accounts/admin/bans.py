"""Bans in the admin site."""

from typing import Any

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest

from accounts import bans
from accounts.admin.staff import staff, within_rank
from accounts.models import Ban, User
from registry_site.admin.base import DomainAdmin


@admin.register(Ban)
class Bans(DomainAdmin):
    list_display = ("user", "reason", "created_at", "created_by", "until", "lifted_at", "is_in_force")
    list_filter = (("lifted_at", admin.EmptyFieldListFilter), "created_at", "until")
    search_fields = ("user__username", "reason")
    list_select_related = ("user", "created_by")
    autocomplete_fields = ("user",)
    actions = ["lift"]
    fields = ("user", "reason", "until", "created_at", "created_by", "lifted_at")

    def get_readonly_fields(self, request: HttpRequest, obj: Ban | None = None) -> Any:
        return self.fields if obj else ("created_at", "created_by", "lifted_at")

    @admin.display(boolean=True, description="in force")
    def is_in_force(self, ban: Ban) -> bool:
        return ban.is_in_force

    def get_form(self, request: HttpRequest, obj: Ban | None = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change, **kwargs)

        class BanForm(form):  # type: ignore[valid-type,misc]  # needs the request, which forms of the admin do not get
            def clean_user(self) -> User:
                user: User = self.cleaned_data["user"]
                if user == staff(request):
                    raise ValidationError("You cannot ban yourself here.")
                return user

        return form if change else BanForm

    def save_model(self, request: HttpRequest, obj: Ban, form: ModelForm, change: bool) -> None:
        if change:
            return
        obj.pk = bans.ban(obj.user, actor=staff(request), reason=obj.reason, until=obj.until).pk

    @admin.action(description="Lift the selected bans", permissions=["change"])
    def lift(self, request: HttpRequest, queryset: QuerySet[Ban]) -> None:
        in_force = queryset.in_force()  # type: ignore[attr-defined]
        users = within_rank(self, request, User.objects.filter(bans__in=in_force).distinct())
        lifted = sum(bans.unban(user, actor=staff(request)) for user in users)
        self.message_user(request, f"{lifted} lifted.")

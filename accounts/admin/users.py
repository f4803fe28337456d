"""Accounts in the admin site. Nothing is deleted here: staff deactivate accounts and revoke credentials."""

from copy import copy
from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.forms import AdminPasswordChangeForm, BaseUserCreationForm, UserChangeForm, UsernameField
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponseRedirect
from django.utils import timezone

from accounts import closing, emails, profiles, registration, roles
from accounts.admin import user_actions
from accounts.admin.fields import LabelledFormSet
from accounts.admin.staff import confirmed_staff, staff
from accounts.admin.user_page import UserPage, page_queryset
from accounts.credentials import browser_sessions
from accounts.models import RESERVES_EMAIL, Role, RoleGrant, User
from accounts.own_events import newest_events
from accounts.passwords import change, login_throttle
from accounts.second_factor import proofs
from registry_site import audit
from registry_site.admin.object_pages import MAX_ROWS, Description, ObjectPage
from registry_site.errors import RegistryError
from registry_site.models import AuditEvent


class EmailForm(ModelForm):
    """A form that stores e-mail addresses in their normal form."""

    def clean_email(self) -> str:
        email: str = self.cleaned_data["email"]
        try:
            email = emails.normalize(email) if email else ""
        except RegistryError as error:
            raise ValidationError(error.message) from error
        # The constraint has columns that are in no form, so Django does not check it.
        others = User.objects.with_email(email).filter(RESERVES_EMAIL).exclude(pk=self.instance.pk)
        if "email" in self.changed_data and others.exists():
            raise ValidationError("Another account has this e-mail address.")
        return email


class StaffPasswordForm(AdminPasswordChangeForm):
    """The form by which staff set or disable the password of a user."""

    user: User

    def __init__(self, *args: Any, actor: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.actor = actor

    def clean(self) -> dict[str, Any] | None:
        cleaned: dict[str, Any] | None = super().clean()
        if not self.cleaned_data.get("set_usable_password"):
            try:
                with transaction.atomic():
                    change.require_other_way_in(self.user)
            except RegistryError as error:
                self.add_error("usable_password", error.message)
        return cleaned

    def save(self, commit: bool = True) -> User:
        password = self.cleaned_data["password1"] if self.cleaned_data["set_usable_password"] else None
        change.set_password_as_staff(self.user, password, actor=self.actor)
        return self.user


class UserForm(EmailForm, UserChangeForm):
    pass


class NewUserForm(EmailForm, BaseUserCreationForm):
    class Meta:
        model = User
        fields = ("username", "email")
        field_classes = {"username": UsernameField}


def described(form: ModelForm, name: str) -> str:
    """Return a changed field with its new value."""
    value = form.cleaned_data[name]
    if isinstance(value, QuerySet):
        value = ", ".join(map(str, value))
    elif isinstance(value, bool):
        value = "yes" if value else "no"
    return f"{form.fields[name].label}: {value or 'none'}"


class RoleInline(admin.TabularInline):
    """Roles of a user, granted and revoked but never changed: the audit log knows only these two."""

    model = RoleGrant
    formset = LabelledFormSet
    extra = 0

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class LockedFilter(admin.SimpleListFilter):
    """Users whom too many failed log-ins keep out at present."""

    title = parameter_name = "locked"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("1", "after failed log-ins")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[User]) -> QuerySet[User]:
        return queryset.filter(pk__in=login_throttle.locked_users()) if self.value() == "1" else queryset


class AdministratorFilter(admin.SimpleListFilter):
    """Users who administer everything, by whatever right."""

    title = parameter_name = "administers"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("1", "everything")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[User]) -> QuerySet[User]:
        return queryset.filter(pk__in=roles.administrators().values("pk")) if self.value() == "1" else queryset


@admin.register(User)
class Users(ObjectPage, UserAdmin):
    list_display = ("username", "email", "is_active", "banned", "is_staff", "is_superuser", "date_joined", "last_login")
    list_filter = (
        *("is_active", LockedFilter, AdministratorFilter, "is_staff", "is_superuser", "role_grants__role"),
        "date_joined",
    )
    search_fields = ("username", "email")
    ordering = ("username",)
    inlines = [RoleInline]
    staff_actions = user_actions.ACTIONS
    form = UserForm
    add_form = NewUserForm
    add_fieldsets = ((None, {"fields": ("username", "email", "password1", "password2")}),)
    fieldsets = (
        (None, {"fields": ("username", "password", "email", "email_verified_at", "avatar_uri")}),
        ("Standing", {"fields": ("is_active", "banned", "allowed_networks", "date_joined", "last_login")}),
        ("Rights in this admin site", {"fields": ("is_staff", "is_superuser", "groups", "user_permissions")}),
    )
    readonly_fields = ("username", "banned", "email_verified_at", "date_joined", "last_login")
    # Only administrators change these: other staff could make themselves administrators.
    rights = ("is_staff", "is_superuser", "groups", "user_permissions")

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        queryset: QuerySet[User] = User.objects.annotate_is_banned()
        return queryset

    def get_page_queryset(self, request: HttpRequest) -> QuerySet[User]:
        return page_queryset()

    def describe(self, request: HttpRequest, row: User) -> Description:
        return UserPage(request, row).describe()

    def get_events(self, row: User) -> QuerySet[AuditEvent]:
        return newest_events(row, MAX_ROWS + 1)

    @admin.display(ordering="is_banned")
    def banned(self, user: User) -> str:
        return "banned" if getattr(user, "is_banned", False) else "no"

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> Any:
        if obj is None:
            return ()
        return self.readonly_fields if staff(request).is_superuser else self.readonly_fields + self.rights

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        # Staff could set the password of an account with more rights, and log in with it.
        has_permission: bool = super().has_change_permission(request, obj)
        return has_permission and (obj is None or roles.may_act_on(staff(request), obj))

    def get_object(self, request: HttpRequest, *args: Any, **kwargs: Any) -> User | None:
        # A new password ends all sessions but `user.session`: staff who change their own must stay signed in.
        user: User | None = super().get_object(request, *args, **kwargs)
        if user is not None and user.pk == staff(request).pk:
            user.session = staff(request).session
        return user

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> Any:
        if proofs.is_due(browser_sessions.require_principal(request)):
            return HttpResponseRedirect(proofs.confirm_url(request.path))
        page: Any = copy(self)  # one instance serves all requests, and the form has to know who sent this one
        page.change_password_form = partial(StaffPasswordForm, actor=staff(request))
        page.log_change = super().log_change  # the verb has recorded the new password
        return super(Users, page).user_change_password(request, id, form_url)

    def save_model(self, request: HttpRequest, obj: User, form: ModelForm, change: bool) -> None:
        actor = confirmed_staff(request)
        if change:
            is_own = obj.pk == actor.pk
            if is_own and "allowed_networks" in form.changed_data:
                profiles.require_own_network(obj)
            standing = {"is_active", "is_staff", "is_superuser"}
            if any(not form.cleaned_data[name] for name in standing.intersection(form.changed_data)):
                roles.require_other_administrator(obj, actor=actor)
            if "email" in form.changed_data:
                former = form.initial["email"]
                audit.record(actor, audit.Action.USER_CHANGE_EMAIL, obj, former=former, email=obj.email)
                obj.email_verified_at = timezone.now() if obj.email else None
            if "is_active" in form.changed_data:
                set_open = closing.reopen if obj.is_active else closing.close_as_staff
                set_open(obj, actor=actor)
            recorded = ("email", "is_active")
            if changes := [described(form, name) for name in form.changed_data if name not in recorded]:
                audit.record(actor, audit.Action.USER_CHANGE, obj, changes=changes)
            # Only the changed fields: the others may have changed elsewhere since the form was opened.
            columns = {column.name for column in User._meta.concrete_fields}
            obj.save(update_fields={*columns.intersection(form.changed_data), "email_verified_at"})
        else:
            password = form.cleaned_data["password1"]
            user = registration.register(obj.username, password, obj.email, actor=actor)
            obj.pk = user.pk
            if hint := registration.missing_way_in(user):
                self.message_user(request, hint, messages.WARNING)

    def response_add(self, request: HttpRequest, obj: User, post_url_continue: str | None = None) -> Any:
        return super(UserAdmin, self).response_add(request, obj, post_url_continue)  # to the page, not to the form

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        for new_grant in formset.save(commit=False):
            roles.grant(new_grant.user, Role(new_grant.role), actor=staff(request))
        for deleted_grant in formset.deleted_objects:
            roles.revoke(deleted_grant.user, Role(deleted_grant.role), actor=staff(request))

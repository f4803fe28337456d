"""Accounts in the admin site. Nothing is deleted here: staff deactivate accounts and revoke credentials."""

from collections.abc import Iterable
from copy import copy
from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.forms import AdminPasswordChangeForm, BaseUserCreationForm, UserChangeForm, UsernameField
from django.contrib.auth.models import Group, Permission
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponseRedirect
from django.utils import timezone

from accounts import bans, emails, names, profiles, registration, roles
from accounts.credentials import browser_sessions, revocation
from accounts.models import (
    RESERVES_EMAIL,
    Authenticator,
    Ban,
    Credential,
    Identity,
    LoginFailure,
    Role,
    RoleGrant,
    User,
)
from accounts.passwords import change, login_throttle
from accounts.second_factor import authenticators, proofs
from registry_site import audit
from registry_site.admin import DomainAdmin, ReadOnlyAdmin, ReadOnlyInline
from registry_site.errors import RegistryError


def staff(request: HttpRequest) -> User:
    """Return the member of staff who sent the request."""
    assert isinstance(request.user, User)  # noqa: S101 - the admin site admits no anonymous user
    return request.user


def confirmed_staff(request: HttpRequest) -> User:
    """Return the member of staff who sent the request, with a fresh proof. Raises `ConfirmationRequired`."""
    proofs.require_recent(browser_sessions.require_principal(request))
    return staff(request)


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


class RoleInline(admin.TabularInline):
    """Roles of a user, granted and revoked but never changed: the audit log knows only these two."""

    model = RoleGrant
    extra = 0

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class IdentityInline(ReadOnlyInline):
    model = Identity
    fields = readonly_fields = ("issuer", "subject", "administers", "created_at", "last_seen_at", "refused_at")


class AuthenticatorInline(ReadOnlyInline):
    """The second factors of a user, without their secrets."""

    model = Authenticator
    fields = readonly_fields = ("kind", "name", "created_at", "last_used_at")


@admin.register(User)
class Users(DomainAdmin, UserAdmin):
    list_display = ("username", "email", "is_active", "banned", "is_staff", "is_superuser", "date_joined", "last_login")
    list_filter = ("is_active", "is_staff", "is_superuser", "role_grants__role", "date_joined")
    search_fields = ("username", "email")
    ordering = ("username",)
    inlines = [RoleInline, IdentityInline, AuthenticatorInline]
    actions = ["ban", "unban", "revoke_tokens", "unlock", "remove_second_factor"]
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
            # Only the changed fields: the others may have changed elsewhere since the form was opened.
            columns = {column.name for column in User._meta.concrete_fields}
            obj.save(update_fields={*columns.intersection(form.changed_data), "email_verified_at"})
        else:
            password = form.cleaned_data["password1"]
            user = registration.register(obj.username, password, obj.email, actor=actor)
            obj.pk = user.pk
            if hint := registration.missing_way_in(user):
                self.message_user(request, hint, messages.WARNING)

    def log_change(self, request: HttpRequest, obj: User, message: Any) -> Any:
        # `message` is a list such as [{"changed": {"fields": ["Email"]}}].
        changes = [
            f"{verb}: {', '.join(details.get('fields') or [details.get('object', '')])}"
            for entry in message
            for verb, details in entry.items()
        ]
        audit.record(staff(request), audit.Action.USER_CHANGE, obj, changes=changes)
        return super().log_change(request, obj, message)

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        for new_grant in formset.save(commit=False):
            roles.grant(new_grant.user, Role(new_grant.role), actor=staff(request))
        for deleted_grant in formset.deleted_objects:
            roles.revoke(deleted_grant.user, Role(deleted_grant.role), actor=staff(request))

    @admin.action(description="Ban the selected users", permissions=["change"])
    def ban(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        allowed = within_rank(self, request, queryset)
        users = [user for user in allowed if user != staff(request)]
        if len(users) < len(allowed):
            self.message_user(request, "Your own account is left out: add a ban by hand for it.", messages.WARNING)
        for user in users:
            bans.ban(user, actor=staff(request), reason="banned in the admin site")
        self.message_user(request, f"{len(users)} banned. For a reason and an end, add a ban by hand.")

    @admin.action(description="Lift the ban of the selected users", permissions=["change"])
    def unban(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        lifted = sum(bans.unban(user, actor=staff(request)) for user in within_rank(self, request, queryset))
        self.message_user(request, f"{lifted} unbanned.")

    @admin.action(description="End all tokens, keys and sessions of the selected users", permissions=["change"])
    def revoke_tokens(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        credentials = Credential.objects.filter(user__in=within_rank(self, request, queryset), revoked_at=None)
        revoked = sum(revocation.revoke(credential, staff(request)) for credential in credentials)
        self.message_user(request, f"{revoked} revoked.")

    @admin.action(description="Unlock the selected users after failed log-ins", permissions=["change"])
    def unlock(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        unlock(self, request, (names.canonical(user.username) for user in within_rank(self, request, queryset)))

    @admin.action(description="Remove the second factor of the selected users", permissions=["change"])
    def remove_second_factor(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        actor = confirmed_staff(request)
        # One's own goes at /account/security.
        users = [user for user in within_rank(self, request, queryset) if user != actor]
        removed = sum(authenticators.reset(user, actor=actor) > 0 for user in users)
        self.message_user(request, f"{removed} sign in by the password alone from now on.")


def within_rank(model_admin: admin.ModelAdmin, request: HttpRequest, users: Iterable[User]) -> list[User]:
    """Return the users that this member of staff may act on, and warn about the others."""
    listed = list(users)
    allowed = [user for user in listed if roles.may_act_on(staff(request), user)]
    if len(allowed) < len(listed):
        message = (
            "Only administrators may do this to administrators, and to accounts with rights or roles that you lack."
        )
        model_admin.message_user(request, message, messages.WARNING)
    return allowed


def unlock(model_admin: admin.ModelAdmin, request: HttpRequest, canonical_names: Iterable[str]) -> None:
    """Let the recent failures of these names count no more, and say how many those were."""
    unlocked = sum(login_throttle.unlock(name, actor=staff(request)) for name in canonical_names)
    model_admin.message_user(request, f"{unlocked} failed log-ins count no more.")


admin.site.unregister(Group)  # Django registers it with a list that takes any lookup


@admin.register(Group)
class Groups(DomainAdmin, GroupAdmin):
    """Groups of permissions, for administrators: a group can give its members every right in this site."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return staff(request).is_superuser

    def has_change_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return staff(request).is_superuser

    def has_delete_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return staff(request).is_superuser

    def save_related(self, request: HttpRequest, form: ModelForm, formsets: Any, change: bool) -> None:
        actor = confirmed_staff(request)
        group: Group = form.instance
        before = set(group.permissions.all())
        super().save_related(request, form, formsets, change)
        if change and not form.has_changed():
            return
        after = set(group.permissions.all())
        audit.record(
            actor,
            audit.Action.GROUP_CHANGE if change else audit.Action.GROUP_CREATE,
            group,
            added=codenames(after - before),
            removed=codenames(before - after),
        )

    def delete_model(self, request: HttpRequest, obj: Group) -> None:
        self.delete_queryset(request, Group.objects.filter(pk=obj.pk))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Group]) -> None:
        with transaction.atomic():
            for group in queryset:
                permissions = codenames(group.permissions.all())
                audit.record(staff(request), audit.Action.GROUP_DELETE, group, removed=permissions)
            super().delete_queryset(request, queryset)


def codenames(permissions: Iterable[Permission]) -> list[str]:
    """Return the codenames of permissions in alphabetical order."""
    return sorted(permission.codename for permission in permissions)


@admin.register(Credential)
class Credentials(ReadOnlyAdmin):
    """Tokens, sessions and app keys, without their secrets and digests."""

    list_display = ("name", "user", "kind", "created_at", "expires_at", "revoked_at", "last_used_at", "live")
    list_filter = ("kind", ("revoked_at", admin.EmptyFieldListFilter), "created_at", "expires_at")
    search_fields = ("user__username", "name", "ip_address")
    list_select_related = ("user",)
    actions = ["revoke"]
    fields = (
        *("user", "kind", "name", "allowed_scopes", "crates", "ip_address", "created_at", "expires_at", "revoked_at"),
        *("last_used_at", "last_used_ip"),
    )

    @admin.display(description="scopes")
    def allowed_scopes(self, credential: Credential) -> str:
        return " ".join(credential.scopes)

    @admin.display(description="crates that it may change")
    def crates(self, credential: Credential) -> str:
        return " ".join(credential.crate_patterns) or "all of its user"

    @admin.display(boolean=True)
    def live(self, credential: Credential) -> bool:
        return credential.is_live

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("accounts.change_credential")

    @admin.action(description="Revoke the selected tokens, sessions and keys", permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[Credential]) -> None:
        users = within_rank(self, request, User.objects.filter(credentials__in=queryset).distinct())
        credentials = queryset.filter(user__in=users)
        revoked = sum(revocation.revoke(credential, staff(request)) for credential in credentials)
        self.message_user(request, f"{revoked} revoked; {len(credentials) - revoked} had ended before.")


@admin.register(LoginFailure)
class LoginFailures(ReadOnlyAdmin):
    list_display = ("at", "name", "ip_address", "of_code", "forgiven", "unlocked")
    list_filter = ("at", "of_code", "forgiven", "unlocked")
    search_fields = ("name", "ip_address")
    date_hierarchy = "at"
    actions = ["unlock"]

    def has_unlock_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("accounts.change_loginfailure")

    @admin.action(description="Unlock the accounts of the selected failures", permissions=["unlock"])
    def unlock(self, request: HttpRequest, queryset: QuerySet[LoginFailure]) -> None:
        failed = set(queryset.values_list("name", flat=True))
        users = list(User.objects.named(*failed).select_related("reservation"))
        beyond_rank = set(users).difference(within_rank(self, request, users))
        unlock(self, request, failed - {user.reservation.name for user in beyond_rank})


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

"""The page of a user in the admin site: standing, rights, ways to sign in, bans, tokens, sessions and keys."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.auth.models import Group, Permission
from django.db.models import (
    Case,
    Count,
    DateTimeField,
    Exists,
    F,
    OuterRef,
    QuerySet,
    Subquery,
    TextField,
    Value,
    When,
    Window,
)
from django.db.models.functions import Cast, Coalesce, Concat, RowNumber
from django.http import HttpRequest

from accounts import closing, standing, user_agents
from accounts.models import (
    Authenticator,
    Ban,
    Credential,
    Identity,
    LoginFailure,
    RecoveryCode,
    Role,
    RoleGrant,
    User,
    good_standing,
)
from accounts.passwords import login_throttle
from registry_site.admin.address_links import link_to_address
from registry_site.admin.object_pages import (
    MAX_ROWS,
    Cell,
    Description,
    Fact,
    Link,
    Panel,
    link_to,
    list_url,
    may_view,
    object_url,
    panel_of,
)
from registry_site.templatetags import figures
from registry_site.unions import first_rows

IDENTITY, APP, PASSKEY = "identity", Authenticator.Kind.APP.label, Authenticator.Kind.PASSKEY.label
ROLE, GROUP, PERMISSION = "role", "group", "permission"
ADMINISTERS = "administers everything"
SECRETS = ("digest", "secret")  # columns of a credential that no page shows


@dataclass(frozen=True)
class Line:
    """A right of a user, or a way to sign in."""

    kind: str
    name: str
    created_at: datetime | None = None
    used_at: datetime | None = None
    refused_at: datetime | None = None


class UserPage:
    """What the page shows of a user, for those who may view each part of it."""

    def __init__(self, request: HttpRequest, user: Any) -> None:  # of `page_queryset`
        self.request = request
        self.user = user
        self.lines = lines_of(user)
        self.bans = list(user.bans.select_related("created_by")[: MAX_ROWS + 1])
        self.failures = login_throttle.recent_failures(user.reservation.name, MAX_ROWS + 1)

    def describe(self) -> Description:
        return Description([*self.standing(), *self.facts()], list(self.panels()))

    def names_of(self, *kinds: str) -> list[str]:
        return [line.name for line in self.lines if line.kind in kinds]

    def standing(self) -> Iterator[Fact]:
        refusals = [line.refused_at for line in self.lines if line.refused_at]
        hindrances = standing.hindrances_of(
            self.user,
            can_sign_in=self.user.can_sign_in,
            bans=self.bans,
            refused_at=min(refusals, default=None),
            failures=self.failures,
        )
        for hindrance in hindrances:
            yield Fact(hindrance.kind, hindrance.reason, "bad")
        if not hindrances:
            yield Fact("Standing", "Can sign in and work.", "good")
        if self.user.allowed_networks:
            yield Fact("Limited", f"Can be used from {self.user.allowed_networks} alone.", "warn")

    def facts(self) -> Iterator[Fact]:
        user = self.user
        verified = "verified" if user.has_verified_email else "not verified"
        yield Fact("E-mail address", f"{user.email}, {verified}" if user.email else "")
        yield Fact("Rights", self.rights(), "warn" if self.administers() else "")
        yield Fact("Password", "set" if user.has_usable_password() else "none")
        yield Fact("Second factor", self.second_factor())
        yield Fact("Joined", user.date_joined)
        yield Fact("Last sign-in by the pages", user.last_login)

    def administers(self) -> list[str]:
        """Return by what the user is an administrator of everything."""
        by_role = [f"the role {Role.SYSTEM_ADMIN}"] if Role.SYSTEM_ADMIN in self.names_of(ROLE) else []
        return ["being a superuser"] * self.user.is_superuser + by_role

    def rights(self) -> str:
        if by := self.administers():
            entry = "" if self.user.is_staff and self.user.is_superuser else ", but may not enter this site"
            return f"An administrator of everything, by {' and by '.join(by)}{entry}."
        others = [*self.names_of(GROUP), *self.names_of(ROLE)]
        return f"{'Staff' if self.user.is_staff else 'User'}{': ' if others else ''}{', '.join(others)}"

    def second_factor(self) -> str:
        kinds = [line.kind for line in self.lines if line.kind in (APP, PASSKEY)]
        if not kinds:
            return "none"
        named = ", ".join(dict.fromkeys(kinds))
        return f"{named}; {figures.counted(self.user.recovery_code_count, 'recovery code')} left"

    def panels(self) -> Iterator[Panel]:
        parts = (
            (Ban, self.ban_panels),
            (LoginFailure, self.failure_panels),
            (RoleGrant, self.right_panels),
            (Identity, self.sign_in_panels),
            (Credential, self.credential_panels),
        )
        for model, panels in parts:
            if may_view(self.request, model):
                yield from panels()

    def ban_panels(self) -> Iterator[Panel]:
        yield panel_of(
            "Bans",
            {
                "Since": lambda ban: Link(f"{ban.created_at:%Y-%m-%d %H:%M}", object_url(Ban, ban.pk)),
                "By": lambda ban: link_to(ban.created_by),
                "Reason": lambda ban: ban.reason,
                "Until": lambda ban: ban.until or "until it is lifted",
                "Lifted": lambda ban: ban.lifted_at,
                "State": lambda ban: "in force" if ban.is_in_force else "over",
            },
            self.bans,
            empty="Never banned.",
            more=Link("All bans", list_url(Ban, q=self.user.username)),
            order="newest",
        )

    def failure_panels(self) -> Iterator[Panel]:
        yield panel_of(
            "Failed log-ins",
            {
                "Time": lambda failure: failure.at,
                "From": lambda failure: link_to_address(failure.ip_address),
                "Cause": lambda failure: failure.cause,
                "Counts": lambda failure: login_throttle.counts_as(failure),
            },
            self.failures,
            more=Link("All failed log-ins", list_url(LoginFailure, q=self.user.reservation.name)),
            order="newest",
        )

    def right_panels(self) -> Iterator[Panel]:
        user = self.user
        flags = ((user.is_superuser, "superuser", ADMINISTERS), (user.is_staff, "staff", "enters this site"))
        rights = [Line(kind, right) for is_set, kind, right in flags if is_set]
        rights += [line for line in self.lines if line.kind in (ROLE, GROUP, PERMISSION)]
        yield panel_of(
            "Rights and roles",
            {
                "Right": lambda line: ADMINISTERS if line.name == Role.SYSTEM_ADMIN else line.name,
                "By": lambda line: f"{line.kind} {line.name}" if line.name == Role.SYSTEM_ADMIN else line.kind,
            },
            rights,
            empty="No more than every user has.",
        )

    def sign_in_panels(self) -> Iterator[Panel]:
        yield panel_of(
            "Identities and second factors",
            {
                "Kind": lambda line: line.kind,
                "Name": lambda line: line.name,
                "Added": lambda line: line.created_at,
                "Last used": lambda line: line.used_at,
                "Refused by its provider": lambda line: line.refused_at,
            },
            [line for line in self.lines if line.kind in (IDENTITY, APP, PASSKEY)],
        )

    def credential_panels(self) -> Iterator[Panel]:
        kinds = Credential.Kind
        credentials = newest_credentials(self.user)
        tokens = [row for row in credentials if row.kind == kinds.CARGO_TOKEN]
        app_keys = [row for row in credentials if row.kind == kinds.APP_KEY]
        sessions = [row for row in credentials if row.kind in Credential.SESSION_KINDS]
        yield self.credential_panel("Tokens", kinds.CARGO_TOKEN, tokens)
        yield self.session_panel(sessions)
        yield self.credential_panel("App keys", kinds.APP_KEY, app_keys)

    def credential_panel(self, title: str, kind: str, credentials: Sequence[Credential]) -> Panel:
        return panel_of(
            title,
            {
                "Name": lambda row: Link(row.name, object_url(Credential, row.pk)),
                "State": state_of,
                "Scopes": lambda row: row.app_key_type or " ".join(row.scopes),
                "Crates": lambda row: " ".join(row.crate_patterns) or "all of the user",
                "Made": lambda row: row.created_at,
                "Ends": lambda row: row.expires_at or "never",
                "Last used": lambda row: row.last_used_at,
                "From": lambda row: link_to_address(row.last_used_ip),
            },
            credentials,
            more=Link(f"All {title.lower()}", self.credentials_url(kind__exact=kind)),
            order="newest",
        )

    def session_panel(self, sessions: Sequence[Credential]) -> Panel:
        return panel_of(
            "Sessions",
            {
                "Client": lambda row: Link(
                    user_agents.describe(row.user_agent) or row.get_kind_display(), object_url(Credential, row.pk)
                ),
                "Kind": lambda row: row.get_kind_display(),
                "State": state_of,
                "Began": lambda row: row.created_at,
                "From": lambda row: link_to_address(row.ip_address),
                "Ends": lambda row: row.expires_at or "never",
                "Last used": lambda row: row.last_used_at,
                "Last used from": lambda row: link_to_address(row.last_used_ip),
            },
            sessions,
            more=Link("All tokens, sessions and keys", self.credentials_url()),
            order="newest",
        )

    def credentials_url(self, **query: str) -> str:
        return list_url(Credential, q=self.user.username, **query)


def page_queryset() -> QuerySet[User]:
    """Select the users with all that their standing, and the actions on them, need of the same query."""
    codes = RecoveryCode.objects.filter(user=OuterRef("pk")).order_by().values("user")
    number = Coalesce(Subquery(codes.annotate(number=Count("pk")).values("number")), 0)
    users: QuerySet[User] = User.objects.annotate_can_sign_in().annotate_is_banned().select_related("reservation")
    return closing.annotate_closing(users).annotate(
        recovery_code_count=number,
        is_in_good_standing=good_standing(),
        has_second_factor=Exists(Authenticator.objects.filter(user=OuterRef("pk"))),
        has_credentials=Exists(Credential.objects.unrevoked().filter(user=OuterRef("pk"))),
        has_failures=Exists(login_throttle.unlockable().filter(name=OuterRef("reservation__name"))),
    )


def lines_of(user: User) -> list[Line]:
    """Return the rights of a user and the ways to sign in, in one query, and of each kind the newest."""
    factors = Authenticator.objects.filter(user=user)
    parts = [
        select_lines(
            Identity.objects.filter(user=user),
            IDENTITY,
            Concat("subject", Value(" at "), "issuer"),
            *("created_at", "last_seen_at", "refused_at"),
        ),
        *(
            select_lines(factors.filter(kind=kind), kind.label, F("name"), "created_at", "last_used_at")
            for kind in Authenticator.Kind
        ),
        select_lines(RoleGrant.objects.filter(user=user), ROLE, F("role")),
        select_lines(Group.objects.filter(user=user), GROUP, F("name")),
        select_lines(Permission.objects.filter(user=user), PERMISSION, F("name")),
    ]
    rows: Any = parts[0].union(*parts[1:], all=True)
    return sorted((Line(*row) for row in rows), key=lambda line: (line.kind, line.name))


def select_lines(rows: QuerySet[Any], kind: str, name: Any, *times: str) -> QuerySet[Any]:
    """Select the columns of `Line`; a time that a kind does not have is NULL."""
    columns: list[Any] = [F(time) for time in times] + [Value(None)] * (3 - len(times))
    moments = {f"line_time_{number}": Cast(column, DateTimeField()) for number, column in enumerate(columns)}
    texts = {"line_kind": Value(kind, TextField()), "line_name": Cast(name, TextField())}
    newest = first_rows(rows.order_by("-pk"), MAX_ROWS + 1)
    lines: QuerySet[Any] = newest.annotate(**texts, **moments).values_list(*texts, *moments)
    return lines


def newest_credentials(user: User) -> list[Credential]:
    """Return the newest tokens, sessions and app keys, those that are not revoked first, in one query."""
    order = (F("revoked_at").desc(nulls_first=True), F("created_at").desc(), F("pk").desc())
    panel = Case(When(kind__in=Credential.SESSION_KINDS, then=Value("session")), default=F("kind"))
    number = Window(RowNumber(), partition_by=panel, order_by=order)
    newest = user.credentials.order_by().annotate(number=number).filter(number__lte=MAX_ROWS + 1).values("pk")
    return list(Credential.objects.filter(pk__in=newest).order_by(*order).defer(*SECRETS))


def state_of(credential: Credential) -> Cell:
    if credential.revoked_at:
        return f"revoked {credential.revoked_at:%Y-%m-%d}"
    return "live" if credential.is_live else "expired"

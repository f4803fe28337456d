"""The throttle of log-ins: failures are limited for each account, each network, and both together.

A failure is committed as a row before the rows are counted. So concurrent guesses, on any number of workers, get no
more answers than the limit: each guess counts its own row and all earlier ones.
"""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Count, Q, QuerySet
from django.utils import timezone

from accounts import emails, names, roles
from accounts.models import LoginFailure, LoginFailureQuerySet, User
from accounts.second_factor.throttle import has_signed_in_from_network
from registry_site import audit
from registry_site.errors import AccountClosed, TooManyRequests, WrongPassword
from registry_site.http import client_address
from registry_site.http.request_log import annotate
from registry_site.rate_limits import RateLimit

WINDOW = timedelta(minutes=15)

# Multiples of REGISTRY_MAX_LOGIN_FAILURES: from one network at all accounts, and at one account from all networks.
NETWORK_FACTOR = 10
ACCOUNT_FACTOR = 20


class LoginThrottle:
    """The context of one log-in attempt, which counts as a failure when `WrongPassword` leaves the block.

    Raises `TooManyRequests` on entry and on exit: a refused attempt must not reveal whether its password was right.
    """

    def __init__(self, login: str, user: User | None) -> None:
        self.user = user
        self.name = names.canonical(user.username) if user else _stored_name(login)
        self.network = client_address.client_network()
        self.own_failures = LoginFailure.objects.counted().filter(name=self.name, network=self.network, forgiven=False)

    def __enter__(self) -> None:
        annotate(account=self.name)
        self._check(includes_own=False)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, WrongPassword):
            refusal = error.refusal if isinstance(error, AccountClosed) else ""
            annotate(event="sign_in_failed", **({"cause": refusal} if refusal else {}))
            ip_address = client_address.client_ip()
            LoginFailure.objects.create(name=self.name, ip_address=ip_address, network=self.network, refusal=refusal)
            self._check(includes_own=True)
        elif error is None:
            # Hashing takes long: other attempts may have failed meanwhile.
            self._check(includes_own=False)
            recent = self.own_failures.filter(at__gt=timezone.now() - WINDOW, of_code=False)
            # Reading first spares nearly every log-in a write, for which SQLite has one lock.
            if recent.exists():
                recent.update(forgiven=True)

    def _check(self, *, includes_own: bool) -> None:
        """Raise `TooManyRequests` if this attempt is over one of the limits; its failure may be a row already."""
        _limit(1).check_rows(self.own_failures, includes_own=includes_own)
        counted = LoginFailure.objects.counted()
        from_network = counted.filter(network=self.network)
        _limit(NETWORK_FACTOR).check_rows(from_network, includes_own=includes_own)
        try:
            _limit(ACCOUNT_FACTOR).check_rows(counted.filter(name=self.name), includes_own=includes_own)
        except TooManyRequests:
            # An attack from many networks must not lock out the owner, whose network has logged in before.
            if self.user is None or not has_signed_in_from_network(self.user):
                raise


@dataclass(frozen=True)
class Lock:
    """A limit that an account has reached: by failures from a network, or from all without a name of one."""

    network: str
    failures: int
    until: datetime


def recent_failures(name: str, at_least: int) -> Sequence[LoginFailure]:
    """Return the latest failures of a name in canonical form: all that its locks depend on, and some older ones."""
    rows = LoginFailure.objects.filter(name=name).order_by("-at")
    return list(rows[: max(at_least, settings.MAX_LOGIN_FAILURES * ACCOUNT_FACTOR)])


def locks(failures: Sequence[LoginFailure]) -> list[Lock]:
    """Return the limits that an account has reached by its failures, which come latest first."""
    counted = [failure for failure in failures if is_unlockable(failure)]
    times: defaultdict[str, list[datetime]] = defaultdict(list)
    for failure in counted:
        if not failure.forgiven:
            times[failure.network].append(failure.at)
    all_times = [failure.at for failure in counted]
    limited = [(network, 1, times_of_network) for network, times_of_network in times.items()]
    return [
        Lock(network, len(moments), end)
        for network, factor, moments in [*limited, ("", ACCOUNT_FACTOR, all_times)]
        if (end := _limit(factor).blocked_until(moments))
    ]


def forgive(user: User) -> None:
    """Let the failures from the client's network count no more for an account whose owner has just proven it."""
    failures = LoginFailure.objects.counted().filter(
        name=names.canonical(user.username), network=client_address.client_network()
    )
    failures.filter(forgiven=False, of_code=False, at__gt=timezone.now() - WINDOW).update(forgiven=True)


def unlockable() -> LoginFailureQuerySet:
    """Select the failures that count at present, so that staff may unlock them."""
    return LoginFailure.objects.counted().filter(at__gt=timezone.now() - WINDOW)


def is_unlockable(failure: LoginFailure) -> bool:
    """Return whether a failure is one of `unlockable`."""
    return not failure.unlocked and failure.at > timezone.now() - WINDOW


def counts_as(failure: LoginFailure) -> str:
    """Return whether a failure counts at present, in words."""
    if failure.unlocked:
        return "no: staff unlocked the account"
    if not is_unlockable(failure):
        return "no: it is long ago"
    return "for the wider limits alone: the right one followed" if failure.forgiven else "yes"


def unlock(name: str, *, actor: User | None) -> int:
    """Let the failures of a name in canonical form count no more; return how many those were.

    The rows stay, for staff to look at. Raises `PermissionDenied` to staff without rank over the account.
    """
    user = User.objects.named(name).first()
    if user is not None:
        roles.require_may_act_on(actor, user)
    recent = unlockable().filter(name=name)
    with transaction.atomic():
        unlocked = recent.update(unlocked=True)
        if unlocked:
            audit.record(actor, audit.Action.USER_UNLOCK, user or name, failures=unlocked)
    return unlocked


def locked_users() -> QuerySet[User]:
    """Select the users whom too many failures keep out at present, from some network or from most."""
    recent = unlockable().order_by()
    number, limit = Count("pk"), settings.MAX_LOGIN_FAILURES
    from_network = recent.filter(forgiven=False).values("name", "network").alias(number=number)
    of_account = recent.values("name").alias(number=number)
    by_network = from_network.filter(number__gte=limit).values("name")
    by_account = of_account.filter(number__gte=ACCOUNT_FACTOR * limit).values("name")
    users: QuerySet[User] = User.objects.filter(
        Q(reservation__name__in=by_network) | Q(reservation__name__in=by_account)
    )
    return users


def _limit(factor: int) -> RateLimit:
    message = "Too many failed log-ins; wait {seconds} seconds before the next."
    return RateLimit("log-ins", settings.MAX_LOGIN_FAILURES * factor, WINDOW, message, is_exact=True)


def _stored_name(login: str) -> str:
    """Return the name to store for an unknown user; text that is no name may be a password, so only its digest."""
    name = names.canonical(names.strip_ktra_prefix(login))
    if names.is_allowed(name) or ("@" in name and len(name) <= emails.MAX_LENGTH):
        return name
    return f"no name, {hashlib.sha256(name.encode('utf-8', 'replace')).hexdigest()[:16]}"

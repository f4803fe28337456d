"""Guessing passwords: failures are counted per account and peer, and too many are answered by nothing but "wait".

A failure is a committed row before it is counted, so that of any number of guesses at once, on any number of workers,
no more are answered than the limit: each sees its own row and all that were there before.
"""

import hashlib
from datetime import timedelta

from django.conf import settings
from django.db.models import Q
from django.utils import timezone

from accounts import emails, names
from accounts.models import Credential, LoginFailure, User
from registry_site.errors import TooManyRequests, WrongPassword
from registry_site.http import client_address
from registry_site.rate_limits import RateLimit

WINDOW = timedelta(minutes=15)

# So many times REGISTRY_MAX_LOGIN_FAILURES: by one peer at all accounts together, at one account by all peers together.
PEER_FACTOR = 10
ACCOUNT_FACTOR = 20


class LoginThrottle:
    """The context of one log-in attempt, which counts as a failure when `WrongPassword` leaves the block.

    Raises `TooManyRequests` on entry and on exit: a refused attempt must not reveal whether its password was right.
    """

    def __init__(self, login: str, user: User | None) -> None:
        self.user = user
        self.name = names.canonical(user.username) if user else _shown(names.canonical(names.strip_ktra_prefix(login)))
        self.peer = client_address.client_ip()
        self.network = client_address.client_network()

    def __enter__(self) -> None:
        self._check(includes_own=False)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, WrongPassword):
            LoginFailure.objects.create(name=self.name, peer=self.peer, network=self.network)
            self._check(includes_own=True)
        elif error is None:
            # Hashing takes long: other attempts may have failed meanwhile.
            self._check(includes_own=False)
            self.reset()

    def reset(self) -> None:
        """Stop counting the failures of this client at this account, after a right password."""
        mistyped = LoginFailure.objects.filter(self._here, at__gt=timezone.now() - WINDOW, forgiven=False)
        # Reading first spares nearly every log-in a write, for which SQLite has one lock.
        if mistyped.exists():
            mistyped.update(forgiven=True)

    @property
    def _here(self) -> Q:
        return Q(name=self.name, network=self.network)

    def _check(self, *, includes_own: bool) -> None:
        """Raise `TooManyRequests` if this attempt is over one of the limits; its failure may be a row already."""
        self._check_rows(1, self._here & Q(forgiven=False), includes_own)
        self._check_rows(PEER_FACTOR, Q(network=self.network), includes_own)
        try:
            self._check_rows(ACCOUNT_FACTOR, Q(name=self.name), includes_own)
        except TooManyRequests:
            # Many networks that guess at one account must not keep its owner out, who has been here before.
            if not self._is_known():
                raise

    def _check_rows(self, factor: int, failures: Q, includes_own: bool) -> None:
        message = "Too many failed log-ins; wait {seconds} seconds before the next."
        limit = RateLimit("log-ins", settings.MAX_LOGIN_FAILURES * factor, WINDOW, message, is_exact=True)
        limit.check_rows(LoginFailure.objects.filter(failures), includes_own=includes_own)

    def _is_known(self) -> bool:
        credentials = Credential.objects.filter(user=self.user).exclude(ip_address=None)
        seen = credentials.order_by().values_list("ip_address", flat=True).distinct()
        return self.user is not None and any(client_address.network_of(peer) == self.network for peer in seen if peer)


def _shown(name: str) -> str:
    """What can be no name is perhaps a password in the wrong field: of it only a digest is kept."""
    if names.PATTERN.fullmatch(name) or ("@" in name and len(name) <= emails.MAX_LENGTH):
        return name
    return f"no name, {hashlib.sha256(name.encode('utf-8', 'replace')).hexdigest()[:16]}"

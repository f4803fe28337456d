"""The limit of wrong codes: for each account from one network, and from all networks together.

Only who has given the right password gets here. Whoever else knows it must not keep out the owner, so that the second
limit does not hold for networks from which the account has signed in before.
"""

from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from accounts import names
from accounts.models import Credential, LoginFailure, User
from registry_site.errors import TooManyRequests, WrongCode
from registry_site.http import client_address
from registry_site.http.request_log import annotate
from registry_site.rate_limits import RateLimit

WINDOW = timedelta(minutes=15)


class CodeThrottle:
    """The context of one check of a code, which counts as a failed log-in when `WrongCode` leaves the block.

    The failure is a row before the code is checked, and goes again if the code is right. So guesses at the same time,
    on any number of workers, get no more answers than the limit. Raises `TooManyRequests` on entry.
    """

    def __init__(self, user: User) -> None:
        self.user = user
        self.name = names.canonical(user.username)
        self.failures = LoginFailure.objects.counted().filter(name=self.name, of_code=True, forgiven=False)
        self.from_network = self.failures.filter(network=client_address.client_network())

    def __enter__(self) -> None:
        annotate(account=self.name)
        self._check(includes_own=False)
        self.attempt = LoginFailure.objects.create(
            name=self.name,
            ip_address=client_address.client_ip(),
            network=client_address.client_network(),
            of_code=True,
        )
        try:
            self._check(includes_own=True)
        except TooManyRequests:
            self.attempt.delete()
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, WrongCode):
            annotate(event="sign_in_failed")
            return
        self.attempt.delete()
        if error is None:
            # Those from elsewhere stay: else each sign-in of the owner would give a guesser there new guesses.
            recent = self.from_network.filter(at__gt=timezone.now() - WINDOW)
            if recent.exists():
                recent.update(forgiven=True)

    def _check(self, *, includes_own: bool) -> None:
        message = "Too many wrong codes; wait {seconds} seconds before the next."
        limit = RateLimit("codes", settings.MAX_LOGIN_FAILURES, WINDOW, message, is_exact=True)
        limit.check_rows(self.from_network, includes_own=includes_own)
        try:
            limit.check_rows(self.failures, includes_own=includes_own)
        except TooManyRequests:
            if not has_signed_in_from_network(self.user):
                raise


def has_signed_in_from_network(user: User) -> bool:
    """Return whether the account has a credential that was issued to the network of the client."""
    network = client_address.client_network()
    credentials = Credential.objects.filter(user=user).exclude(ip_address=None).order_by()
    addresses = credentials.values_list("ip_address", flat=True).distinct()
    return any(client_address.network_of(address) == network for address in addresses if address)

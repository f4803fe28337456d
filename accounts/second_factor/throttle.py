"""The limit of wrong codes: for each account, from all networks together.

Only who has given the right password gets here. So nobody else can use up the limit of an account.
"""

from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from accounts import names
from accounts.models import LoginFailure, User
from registry_site.errors import WrongCode
from registry_site.http import client_address
from registry_site.http.request_log import annotate
from registry_site.rate_limits import RateLimit

WINDOW = timedelta(minutes=15)


class CodeThrottle:
    """The context of one check of a code, which counts as a failed log-in when `WrongCode` leaves the block.

    As for passwords, a failure is a row before the rows are counted: guesses at the same time, on any number of
    workers, get no more answers than the limit. Raises `TooManyRequests` on entry and on exit.
    """

    def __init__(self, user: User) -> None:
        self.name = names.canonical(user.username)
        self.failures = LoginFailure.objects.counted().filter(name=self.name, of_code=True, forgiven=False)

    def __enter__(self) -> None:
        annotate(account=self.name)
        self._check(includes_own=False)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, WrongCode):
            annotate(event="sign_in_failed")
            LoginFailure.objects.create(
                name=self.name,
                ip_address=client_address.client_ip(),
                network=client_address.client_network(),
                of_code=True,
            )
            self._check(includes_own=True)
        elif error is None:
            recent = self.failures.filter(at__gt=timezone.now() - WINDOW)
            if recent.exists():
                recent.update(forgiven=True)

    def _check(self, *, includes_own: bool) -> None:
        message = "Too many wrong codes; wait {seconds} seconds before the next."
        limit = RateLimit("codes", settings.MAX_LOGIN_FAILURES, WINDOW, message, is_exact=True)
        limit.check_rows(self.failures, includes_own=includes_own)

"""The password as a fresh proof, for accounts without a second factor; see `accounts.second_factor.proofs`."""

from accounts.passwords import login
from accounts.principals import Principal
from accounts.second_factor import proofs
from registry_site.errors import PermissionDenied


def prove_by_password(principal: Principal, password: str) -> None:
    """Check the password as a fresh proof.

    Raises `PermissionDenied` where there is a second factor, and as `login.authenticate_password` does.
    """
    user = principal.user
    user.password = login.authenticate_password(user.username, password).password
    if proofs.has_second_factor(user):
        raise PermissionDenied("Your account has a second factor: give a code of it instead.")
    proofs.record(principal, by="the password")

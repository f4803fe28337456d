"""Row locks: verbs that depend on a user's rights lock the row of the user, so that bans and commits do not overlap."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core import signing
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts import bans, email_verification, profiles, roles
from accounts.models import Role, User
from accounts.oidc import identities
from accounts.passwords import change
from accounts.principals import Principal
from registry_site.errors import PermissionDenied
from tests.support.cast import PASSWORD

ISSUER = "https://id.example.com"
CLAIMS = {"sub": "42", "nickname": "alice"}

pytestmark = pytest.mark.only_postgresql  # SQLite locks the whole database instead


def locks_user(verb: Callable[[], object]) -> bool:
    with CaptureQueriesContext(connection) as queries:
        verb()
    return any(
        'FROM "accounts_user"' in query["sql"] and "FOR NO KEY UPDATE" in query["sql"]
        for query in queries.captured_queries
    )


def test_verbs_lock_the_row_of_the_user(alice: User, root: User) -> None:
    roles.grant(alice, Role.USERS_MANAGER, actor=None)
    link_token = signing.dumps({"user": "alice", "email": "a@example.org"}, salt=email_verification.SALT)
    User.objects.filter(pk=alice.pk).update(email="a@example.org")
    verbs: dict[str, Callable[[], object]] = {
        "verify an address": lambda: email_verification.verify(link_token),
        "change a profile": lambda: profiles.update_profile(
            Principal(alice), None, profiles.ProfileChanges(avatar_uri="https://example.com/a.png")
        ),
        "link an identity": lambda: identities.link_to_account(Principal(alice), ISSUER, CLAIMS),
        "sign in": lambda: identities.sign_in(ISSUER, CLAIMS),
        "unlink an identity": lambda: identities.unlink_identity(alice, ISSUER, "42", actor=None),
        "revoke a role": lambda: roles.revoke(alice, Role.USERS_MANAGER, actor=root),
        "change a password": lambda: change.change_password(
            Principal(root), "alice", PASSWORD, "battery staple", "battery staple"
        ),
        "ban by name": lambda: bans.ban_named(Principal(root), "alice"),
        "ban": lambda: bans.ban(alice, actor=root),
    }
    assert [name for name, verb in verbs.items() if not locks_user(verb)] == []


def test_refused_sign_in_locks_the_user_row(alice: User, settings: Any) -> None:
    identities.link_identity(alice, ISSUER, "42", actor=None)
    settings.OIDC_ALLOWED_GROUPS = ["devs"]

    def sign_in() -> None:
        with pytest.raises(PermissionDenied):
            identities.sign_in(ISSUER, CLAIMS)

    assert locks_user(sign_in)

"""`manage.py linkidentity NAME SUBJECT`: link an identity at an OpenID provider to an account."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError

from accounts.management.account_command import AccountCommand
from accounts.oidc import identities


class Command(AccountCommand):
    help = "Link an identity at an OpenID provider to an account, or unlink it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name")
        parser.add_argument("subject", help="the provider's claim `sub`")
        parser.add_argument("--issuer", default=settings.OIDC_ISSUER, help="default: REGISTRY_OIDC_ISSUER")
        parser.add_argument("--remove", action="store_true", help="unlink the identity from the account")

    def handle(self, *args: Any, **options: Any) -> None:
        user = self.get_user(options["name"])
        if not options["issuer"]:
            raise CommandError("Give --issuer, or set REGISTRY_OIDC_ISSUER.")
        change = identities.unlink_identity if options["remove"] else identities.link_identity
        change(user, options["issuer"], options["subject"], actor=None)
        verb = "no longer has" if options["remove"] else "has"
        self.stdout.write(f"{user} {verb} the identity {options['subject']} at {options['issuer']}.")

"""`manage.py linkidentity NAME SUBJECT`: let an account be signed in to at the OpenID provider."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from accounts.models import User
from accounts.oidc import identities
from registry_site.errors import RegistryError


class Command(BaseCommand):
    requires_system_checks = []
    help = "Link an identity at an OpenID provider to an account, or take it away again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name")
        parser.add_argument("subject", help="what the provider calls `sub`")
        parser.add_argument("--issuer", default=settings.OIDC_ISSUER, help="default: REGISTRY_OIDC_ISSUER")
        parser.add_argument("--remove", action="store_true", help="take the identity away from the account")

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.named(options["name"]).first()
        if user is None:
            raise CommandError(f"There is no user {options['name']!r}.")
        if not options["issuer"]:
            raise CommandError("Give --issuer, or set REGISTRY_OIDC_ISSUER.")
        change = identities.detach if options["remove"] else identities.attach
        try:
            change(user, options["issuer"], options["subject"], actor=None)
        except RegistryError as error:
            raise CommandError(error.message) from error
        verb = "no longer has" if options["remove"] else "has"
        self.stdout.write(f"{user} {verb} the identity {options['subject']} at {options['issuer']}.")

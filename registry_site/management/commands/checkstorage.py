"""`manage.py checkstorage`: store and read an empty blob in each storage, as a publish and a download do."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from registry_site.errors import RegistryError
from registry_site.storage import blobs

VARIABLES = {"blobs": "REGISTRY_BLOBS_URL", "mirror": "REGISTRY_MIRROR_BLOBS_URL"}


class Command(BaseCommand):
    requires_system_checks = []
    help = "Store and read an empty blob in each storage, and print why a storage does not work."

    def handle(self, *args: Any, **options: Any) -> None:
        failures = {}
        for store in VARIABLES:
            try:
                blobs.try_out(store)
            except RegistryError as error:
                failures[store] = f"The storage of {VARIABLES[store]} does not work: {error.message}"
            else:
                self.stdout.write(f"The storage of {VARIABLES[store]} works.")
        if failures:
            raise CommandError("\n".join(failures.values()))

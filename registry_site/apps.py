"""The app of the ground floor."""

from django.apps import AppConfig


class RegistryConfig(AppConfig):
    name = "registry_site"
    verbose_name = "Registry"

    def ready(self) -> None:
        from registry_site import (  # noqa: F401 - their receivers register themselves
            audit_retention,
            audit_seals,
            change_log,
            purge,
        )
        from registry_site.search import lookup  # noqa: F401 - registers the lookups
        from registry_site.sqlite import functions  # noqa: F401 - connects its receiver
        from registry_site.storage import stored_blobs  # noqa: F401 - connects its receiver

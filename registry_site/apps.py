"""The app of the ground floor."""

from django.apps import AppConfig


class RegistryConfig(AppConfig):
    name = "registry_site"

    def ready(self) -> None:
        from registry_site import leftovers, statistics  # noqa: F401 - they register themselves

"""The app of the ground floor."""

from django.apps import AppConfig


class RegistryConfig(AppConfig):
    name = "registry_site"

    def ready(self) -> None:
        from registry_site import purge  # noqa: F401 - its receivers register themselves

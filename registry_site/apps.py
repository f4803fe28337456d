"""The app of the ground floor."""

from django.apps import AppConfig


class RegistryConfig(AppConfig):
    name = "registry_site"

    def ready(self) -> None:
        from registry_site import leftovers  # noqa: F401 - it registers itself

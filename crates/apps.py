"""The app of crates."""

from django.apps import AppConfig


class CratesConfig(AppConfig):
    name = "crates"
    verbose_name = "Crates"

    def ready(self) -> None:
        from crates import ownership  # noqa: F401 - connects its receiver

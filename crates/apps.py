"""The app of crates."""

from django.apps import AppConfig


class CratesConfig(AppConfig):
    name = "crates"
    verbose_name = "Crates"

    def ready(self) -> None:
        from crates import download_counts, ownership, purge, search  # noqa: F401 - connect their receivers

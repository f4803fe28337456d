"""The app of packages."""

from django.apps import AppConfig


class PackagesConfig(AppConfig):
    name = "packages"
    verbose_name = "Packages"

    def ready(self) -> None:
        from packages import collaboration, download_counts, purge, search  # noqa: F401 - connect receivers

"""The app of files."""

from django.apps import AppConfig


class FilesConfig(AppConfig):
    name = "files"
    verbose_name = "Files"

    def ready(self) -> None:
        from files import activity, download_counts, purge  # noqa: F401 - connect their receivers

"""The app of crates."""

from django.apps import AppConfig


class CratesConfig(AppConfig):
    name = "crates"
    verbose_name = "Crates"

    def ready(self) -> None:
        from crates import download_counts, owner_notices, ownership, purge, search, section  # noqa: F401 - connect receivers
        from registry_site import sections

        sections.register(section.SECTION)

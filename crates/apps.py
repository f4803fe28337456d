"""The app of crates."""

from django.apps import AppConfig


class CratesConfig(AppConfig):
    name = "crates"
    verbose_name = "Crates"

    def ready(self) -> None:
        from crates import (  # noqa: F401 - connect receivers
            download_counts,
            owner_mails,
            owner_notices,
            ownership,
            purge,
            readme_rendering,
            reserved_names,
            search,
            section,
        )
        from registry_site import sections

        sections.register(section.SECTION)

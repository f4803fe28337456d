"""The app of packages."""

from django.apps import AppConfig


class PackagesConfig(AppConfig):
    name = "packages"
    verbose_name = "Packages"

    def ready(self) -> None:
        from packages import (  # noqa: F401 - receivers
            collaboration,
            download_counts,
            invitation_notices,
            invitations,
            listing,
            purge,
            search,
            section,
        )
        from registry_site import sections

        sections.register(section.PACKAGES)
        sections.register(section.NAMESPACES)

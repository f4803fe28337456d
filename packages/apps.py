"""The app of packages."""

from django.apps import AppConfig


class PackagesConfig(AppConfig):
    name = "packages"
    verbose_name = "Packages"

    def ready(self) -> None:
        from packages import collaboration, download_counts, listing, purge, search, section  # noqa: F401 - receivers
        from registry_site import sections

        sections.register(section.PACKAGES)
        sections.register(section.NAMESPACES)

"""App of the mirror, a part of crates."""

from django.apps import AppConfig
from django.conf import settings


class MirrorConfig(AppConfig):
    name = "crates.mirror"
    label = "mirror"
    verbose_name = "Mirror of crates.io"

    def ready(self) -> None:
        from crates.mirror import download_counts, maintenance, policies, section  # noqa: F401 - connect signals
        from registry_site import sections

        policies.check_settings()
        if settings.MIRROR:
            sections.register(section.SECTION)

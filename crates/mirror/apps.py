"""App of the mirror, a part of crates."""

from django.apps import AppConfig


class MirrorConfig(AppConfig):
    name = "crates.mirror"
    label = "mirror"
    verbose_name = "Mirror of crates.io"

    def ready(self) -> None:
        from crates.mirror import download_counts, maintenance, policies  # noqa: F401 - the first two connect signals

        policies.check_settings()

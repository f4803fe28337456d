"""The app of the mirror, a part of crates."""

from django.apps import AppConfig


class MirrorConfig(AppConfig):
    name = "crates.mirror"
    label = "mirror"
    verbose_name = "Mirror of crates.io"

    def ready(self) -> None:
        from crates.mirror import policies, purging  # noqa: F401 - it registers itself

        policies.check_settings()

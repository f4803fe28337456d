"""The app of namespaces."""

from django.apps import AppConfig


class NamespacesConfig(AppConfig):
    name = "namespaces"
    verbose_name = "Namespaces"

    def ready(self) -> None:
        from namespaces import invitations, membership, personal, purge, reserved_names  # noqa: F401 - connect receivers

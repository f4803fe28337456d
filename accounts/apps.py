"""The app `accounts`, and Django's admin app with the site of this registry."""

from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig


class AccountsConfig(AppConfig):
    name = "accounts"
    verbose_name = "Accounts"

    def ready(self) -> None:
        from accounts import checks, purge  # noqa: F401 - registers the check, connects a signal receiver
        from accounts.credentials import browser_sessions, ending_tokens  # noqa: F401 - connects signal receivers


class RegistryAdminConfig(AdminConfig):
    default_site = "accounts.admin_site.RegistryAdminSite"

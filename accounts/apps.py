"""The app `accounts`, and Django's admin app with the site of this registry."""

from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig


class AccountsConfig(AppConfig):
    name = "accounts"
    verbose_name = "Accounts"

    def ready(self) -> None:
        from accounts import (  # noqa: F401 - registers a check, mails and receivers
            account_notices,
            checks,
            email_verification,
            purge,
            ranks,
        )
        from accounts.credentials import browser_sessions, ending_tokens  # noqa: F401 - connects signal receivers
        from accounts.passwords import reset  # noqa: F401 - registers mails


class RegistryAdminConfig(AdminConfig):
    default_site = "accounts.admin_site.RegistryAdminSite"

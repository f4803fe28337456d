"""The app of accounts."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "accounts"
    verbose_name = "Accounts"

    def ready(self) -> None:
        from accounts import purge  # noqa: F401 - it registers itself
        from accounts.credentials import browser_sessions  # noqa: F401 - it registers itself

"""Accounts in the admin site."""

from accounts.admin import bans, credentials, groups, log_in_failures, reserved_names, search, users, whose_token

__all__ = ["bans", "credentials", "groups", "log_in_failures", "reserved_names", "search", "users", "whose_token"]

"""Accounts in the admin site."""

from accounts.admin import (
    addresses,
    bans,
    credentials,
    groups,
    log_in_failures,
    reserved_names,
    search,
    users,
    whose_token,
)

__all__ = [
    "addresses",
    "bans",
    "credentials",
    "groups",
    "log_in_failures",
    "reserved_names",
    "search",
    "users",
    "whose_token",
]

"""Crates in the admin site."""

from crates.admin import crates, owner_mails, owners, search, user_panels, versions

__all__ = ["crates", "owner_mails", "owners", "search", "user_panels", "versions"]

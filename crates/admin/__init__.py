"""Crates in the admin site."""

from crates.admin import crates, search, user_panels, versions

__all__ = ["crates", "search", "user_panels", "versions"]

"""Crates in the admin site."""

from crates.admin import crates, user_panels, versions

__all__ = ["crates", "user_panels", "versions"]

"""Packages in the admin site."""

from packages.admin import namespace_panels, packages, search, user_panels

__all__ = ["namespace_panels", "packages", "search", "user_panels"]

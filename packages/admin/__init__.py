"""Packages in the admin site."""

from packages.admin import packages, search, user_panels

__all__ = ["packages", "search", "user_panels"]

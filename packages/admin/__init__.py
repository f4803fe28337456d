"""Packages in the admin site."""

from packages.admin import packages, user_panels

__all__ = ["packages", "user_panels"]

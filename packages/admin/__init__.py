"""Packages in the admin site."""

from packages.admin import packages

__all__ = ["packages"]

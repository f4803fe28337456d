"""Crates in the admin site."""

from crates.admin import crates, versions

__all__ = ["crates", "versions"]

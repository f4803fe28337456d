"""Crates in the admin site."""

from crates.admin import crates, reserved_names, versions

__all__ = ["crates", "reserved_names", "versions"]

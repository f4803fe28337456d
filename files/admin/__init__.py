"""Machines and files in the admin site."""

from files.admin import clients, files

__all__ = ["clients", "files"]

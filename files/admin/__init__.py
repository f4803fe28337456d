"""Machines and files in the admin site."""

from files.admin import clients, files, search

__all__ = ["clients", "files", "search"]

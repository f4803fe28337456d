"""Machines and files in the admin site."""

from files.admin import clients, files, search, whose_token

__all__ = ["clients", "files", "search", "whose_token"]

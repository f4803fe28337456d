"""Machines and files in the admin site."""

from files.admin import addresses, clients, files, search, whose_token

__all__ = ["addresses", "clients", "files", "search", "whose_token"]

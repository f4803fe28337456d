"""Namespaces in the admin site."""

from namespaces.admin import namespaces, roles, search

__all__ = ["namespaces", "roles", "search"]

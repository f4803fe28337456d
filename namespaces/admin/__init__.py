"""Namespaces in the admin site."""

from namespaces.admin import namespaces, search

__all__ = ["namespaces", "search"]

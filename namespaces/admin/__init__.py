"""Namespaces in the admin site."""

from namespaces.admin import namespaces

__all__ = ["namespaces"]

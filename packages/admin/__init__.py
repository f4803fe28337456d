"""Packages in the admin site."""

from packages.admin import collaborators, namespace_panels, packages, search, user_panels

__all__ = ["collaborators", "namespace_panels", "packages", "search", "user_panels"]

"""The admin site: base classes of its pages, and the pages of this room."""

from registry_site.admin import audit_log, mails, state

__all__ = ["audit_log", "mails", "state"]

"""Signals from namespaces to packages, sent inside the transaction of the change; a receiver may raise to refuse it."""

from django.dispatch import Signal

namespace_renaming = Signal()  # sender Namespace; namespace, still with its former name
namespace_visibility_changed = Signal()  # sender Namespace; namespace, just put into the trash or restored
role_removed = Signal()  # sender Membership or another RoleAssignment; assignment, already deleted; actor

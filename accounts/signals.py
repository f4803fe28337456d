"""Signals of accounts for higher rooms, sent inside the transaction of the change; a receiver may raise to undo it."""

from django.dispatch import Signal

account_opened = Signal()  # arguments: sender (the class User), user
account_renamed = Signal()  # arguments: sender (the class User), user with the new name, already saved
account_ending = Signal()  # arguments: sender (the class User), user, about to be deleted
token_ending = Signal()  # arguments: sender (the class Credential), token, which ends within a week, with its user

# A question instead of a change: who works together with a user? A receiver returns primary keys of users. To be added
# by somebody is no work: anybody can add anybody, and would see the address.
co_members_wanted = Signal()  # arguments: sender (the class User), viewer, users: the candidates

# Another question: what has a person made that a viewer, or an anonymous visitor, may see? A receiver returns
# `accounts.works.Works`.
works_wanted = Signal()  # arguments: sender (the class User), user, viewer: a user or None

# Another question: what has no other owner whose account is open? A receiver returns up to `limit` names, each with the
# word for what it is, such as `crate serde`.
sole_ownerships_wanted = Signal()  # arguments: sender (the class User), user, limit

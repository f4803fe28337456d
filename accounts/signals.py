"""What accounts announce to whoever is interested, inside the transaction of the deed; a receiver may refuse it."""

from django.dispatch import Signal

account_opened = Signal()  # sender User; user
account_renamed = Signal()  # sender User; user, whose new name is reserved and saved

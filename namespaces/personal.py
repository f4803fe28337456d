"""Everybody's own namespace, which has their name, is opened with the account and follows it."""

from typing import Any

from django.dispatch import receiver

from accounts.models import User
from accounts.signals import account_opened, account_renamed
from namespaces.models import Membership, Namespace, Role
from namespaces.signals import namespace_renaming


@receiver(account_opened)
def create_personal_namespace(sender: type[User], user: User, **kwargs: Any) -> None:
    """The name is reserved with the account's row already: the two share one reservation."""
    namespace = Namespace.objects.create(name=user.username, reservation=user.reservation, user=user)
    Membership.objects.create(namespace=namespace, user=user, role=Role.OWNER)


@receiver(account_renamed)
def rename_personal_namespace(sender: type[User], user: User, **kwargs: Any) -> None:
    """Raises what a receiver of `namespace_renaming` raises."""
    namespace = Namespace.objects.select_for_update(no_key=True).get(user=user)
    namespace_renaming.send(sender=Namespace, namespace=namespace)
    namespace.name, namespace.reservation = user.username, user.reservation
    namespace.save(update_fields=["name", "reservation"])

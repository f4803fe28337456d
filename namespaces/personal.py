"""Personal namespaces: created with an account, and renamed with it."""

from typing import Any

from django.dispatch import receiver

from accounts.models import User
from accounts.signals import account_opened, account_renamed
from namespaces.models import Membership, Namespace, Role
from namespaces.signals import namespace_renaming


@receiver(account_opened)
def create_personal_namespace(sender: type[User], user: User, **kwargs: Any) -> None:
    """Create the namespace of a new account; the two share one `NameReservation`."""
    namespace = Namespace.objects.create(name=user.username, reservation=user.reservation, user=user)
    Membership.objects.create(namespace=namespace, user=user, role=Role.OWNER)


@receiver(account_renamed)
def rename_personal_namespace(sender: type[User], user: User, **kwargs: Any) -> None:
    """Rename the namespace of a renamed account; raises whatever a receiver of `namespace_renaming` raises."""
    namespace = Namespace.objects.for_update().get(user=user)
    namespace_renaming.send(sender=Namespace, namespace=namespace)
    namespace.name, namespace.reservation = user.username, user.reservation
    namespace.save(update_fields=["name", "reservation"])

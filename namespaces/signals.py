"""What namespaces announce to the packages in them, inside the transaction of the deed; a receiver may refuse it."""

from django.dispatch import Signal

namespace_renaming = Signal()  # sender Namespace; namespace, still of its former name
namespace_hidden = Signal()  # sender Namespace; namespace, which was put into the trash or taken out of it
member_removed = Signal()  # sender Namespace; namespace, user, actor

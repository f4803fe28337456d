"""The audit log; announcements; runs of staff; stored blobs; mails; changes; counters; bases of counts of downloads."""

from datetime import datetime
from typing import ClassVar, Self
from uuid import uuid4

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.text import Truncator


class Action(models.TextChoices):
    """Actions of the whole registry. The values are stored, so they stay as they are."""

    ANNOUNCEMENT_ADD = "announcement.add"
    ANNOUNCEMENT_WITHDRAW = "announcement.withdraw"
    APP_KEY_ISSUE = "app_key.issue"
    CLIENT_ADD = "client.add"
    CLIENT_CHANGE = "client.change"
    CLIENT_DISABLE = "client.disable"
    CLIENT_ENABLE = "client.enable"
    CLIENT_ROTATE = "client.rotate"
    CLIENT_SESSIONS = "client.sessions"
    CRATE_ADD_OWNERS = "crate.add_owners"
    CRATE_DESTROY = "crate.destroy"
    CRATE_FOLLOW = "crate.follow"
    CRATE_MAIL_OWNERS = "crate.mail_owners"
    CRATE_PUBLISH = "crate.publish"
    CRATE_REFRESH = "crate.refresh"
    CRATE_RELEASE_NAME = "crate.release_name"  # in events of former releases; now name.release
    CRATE_REMOVE = "crate.remove"
    CRATE_REMOVE_OWNERS = "crate.remove_owners"
    CRATE_RESERVE_NAME = "crate.reserve_name"  # in events of former releases; now name.reserve
    CRATE_RESTORE = "crate.restore"
    CRATE_UNFOLLOW = "crate.unfollow"
    CRATE_UNYANK = "crate.unyank"
    CRATE_YANK = "crate.yank"
    CREDENTIAL_REVOKE = "credential.revoke"
    CREDENTIAL_REVOKE_OTHERS = "credential.revoke_others"
    FILE_ADD = "file.add"
    FILE_DELETE = "file.delete"
    FILE_EXPIRE = "file.expire"
    FILE_UPDATE = "file.update"
    GROUP_CHANGE = "group.change"
    GROUP_CREATE = "group.create"
    GROUP_DELETE = "group.delete"
    IDENTITY_LINK = "identity.link"
    IDENTITY_REFUSE = "identity.refuse"
    IDENTITY_UNLINK = "identity.unlink"
    MIRROR_ACCEPT = "mirror.accept"
    MIRROR_ALLOW_NAME = "mirror.allow_name"
    MIRROR_BLOCKED = "mirror.blocked"
    MIRROR_BLOCKED_END = "mirror.blocked.end"
    MIRROR_DELETE = "mirror.delete"
    MIRROR_DISALLOW_NAME = "mirror.disallow_name"
    MIRROR_EXEMPT = "mirror.exempt"
    MIRROR_EXEMPT_END = "mirror.exempt.end"
    MIRROR_HIDE_NAME = "mirror.hide_name"
    MIRROR_IMPORT = "mirror.import"
    MIRROR_PREFETCH = "mirror.prefetch"
    MIRROR_REFRESH = "mirror.refresh"
    MIRROR_REOPEN = "mirror.reopen"
    MIRROR_SERVE_NAME = "mirror.serve_name"
    MIRROR_SETTLE = "mirror.settle"
    MIRROR_TAKE_BACK = "mirror.take_back"
    NAME_RELEASE = "name.release"
    NAME_RESERVE = "name.reserve"
    NAMESPACE_ACCEPT = "namespace.accept"
    NAMESPACE_ADD_MEMBER = "namespace.add_member"
    NAMESPACE_ADD_MEMBERS = "namespace.add_members"
    NAMESPACE_CHANGE_ROLE = "namespace.change_role"
    NAMESPACE_CREATE = "namespace.create"
    NAMESPACE_DECLINE = "namespace.decline"
    NAMESPACE_INVITE = "namespace.invite"
    NAMESPACE_REMOVE = "namespace.remove"
    NAMESPACE_REMOVE_MEMBER = "namespace.remove_member"
    NAMESPACE_RESTORE = "namespace.restore"
    NAMESPACE_WITHDRAW = "namespace.withdraw"
    OUTBOX_SEND_AGAIN = "outbox.send_again"
    PACKAGE_ACCEPT = "package.accept"
    PACKAGE_ADD_COLLABORATOR = "package.add_collaborator"
    PACKAGE_ADD_COLLABORATORS = "package.add_collaborators"
    PACKAGE_CHANGE_ROLE = "package.change_role"
    PACKAGE_CREATE = "package.create"
    PACKAGE_DECLINE = "package.decline"
    PACKAGE_EDIT = "package.edit"
    PACKAGE_INVITE = "package.invite"
    PACKAGE_PUBLISH = "package.publish"
    PACKAGE_REMOVE = "package.remove"
    PACKAGE_REMOVE_COLLABORATOR = "package.remove_collaborator"
    PACKAGE_RESTORE = "package.restore"
    PACKAGE_TRANSFER = "package.transfer"
    PACKAGE_WITHDRAW = "package.withdraw"
    REGISTRY_EXPORT = "registry.export"
    REGISTRY_PURGE = "registry.purge"
    ROLE_GRANT = "role.grant"
    ROLE_TAKE = "role.take"
    SECOND_FACTOR_ADD = "second_factor.add"
    SECOND_FACTOR_CONFIRM = "second_factor.confirm"
    SECOND_FACTOR_MAKE_CODES = "second_factor.make_codes"
    SECOND_FACTOR_REMOVE = "second_factor.remove"
    SECOND_FACTOR_RESET = "second_factor.reset"
    SECOND_FACTOR_USE_CODE = "second_factor.use_code"
    TOKEN_ISSUE = "token.issue"  # noqa: S105 - an action, not a password
    TOKEN_LOOK_UP = "token.look_up"  # noqa: S105
    USER_ASK_FOR_EMAIL = "user.ask_for_email"
    USER_ASK_FOR_PASSWORD = "user.ask_for_password"  # noqa: S105
    USER_BAN = "user.ban"
    USER_CHANGE = "user.change"
    USER_CHANGE_AVATAR = "user.change_avatar"
    USER_CHANGE_EMAIL = "user.change_email"
    USER_CHANGE_NOTIFICATIONS = "user.change_notifications"
    USER_CHANGE_PASSWORD = "user.change_password"  # noqa: S105
    USER_CHANGE_RANK = "user.change_rank"
    USER_CLOSE = "user.close"
    USER_DEMOTE = "user.demote"
    USER_EXPIRE = "user.expire"
    USER_IMPORT = "user.import"
    USER_LOG_IN = "user.log_in"
    USER_PROMOTE = "user.promote"
    USER_REGISTER = "user.register"
    USER_RENAME = "user.rename"
    USER_REOPEN = "user.reopen"
    USER_UNBAN = "user.unban"
    USER_UNLOCK = "user.unlock"
    USER_VERIFY_EMAIL = "user.verify_email"

    @property
    def label(self) -> str:
        """The stored value: staff read in the admin what logs and webhooks say."""
        return self.value


def action_choices() -> list[tuple[str, str]]:
    """Return the choices by a function, so that a new action needs no migration."""
    return Action.choices


class AuditSeal(models.Model):
    """A link of the chain that proves the audit log whole; see `registry_site.audit_seals`. Number 0 has no events."""

    number = models.BigIntegerField(primary_key=True)
    format = models.PositiveSmallIntegerField(help_text="Which columns of an event the digest covers, and how.")
    previous = models.CharField(max_length=64, help_text="The digest of the seal before.")
    digest = models.CharField(max_length=64)
    first_event = models.BigIntegerField()
    last_event = models.BigIntegerField()
    count = models.PositiveIntegerField(help_text="Of its events.")
    last_at = models.DateTimeField(help_text="When the latest of its events happened.")
    sealed_at = models.DateTimeField(default=timezone.now)
    # The key of each event with the beginning of its digest: they name the event that was changed, added or deleted.
    marks = models.BinaryField(default=bytes)
    exported_to = models.CharField(max_length=100, blank=True, help_text="The file that has its events now.")

    class Meta:
        ordering = ("-number",)

    def __str__(self) -> str:
        return f"seal {self.number}"


class AuditEvent(models.Model):
    """A record of one change: actor, action, target, time and address. It never changes.

    A purge may move old ones into files. A new column is a decision about the chain, too, see
    `registry_site.audit_digests.COLUMNS`.
    """

    at = models.DateTimeField(default=timezone.now)
    # The key of an account stays when the account is deleted, as its name does: the digest covers both.
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="+",
    )
    actor_name = models.CharField(
        max_length=255, help_text="A user as called then, a file client, a command, or the operator."
    )
    action = models.CharField(max_length=64, choices=action_choices)
    target = models.TextField(help_text="As it was called then.")
    # Of the row that was changed, such as files.file 17. No foreign key: the event outlives the row.
    object_type = models.CharField(max_length=100, blank=True)
    object_id = models.BigIntegerField(null=True, blank=True)
    ip_address = models.GenericIPAddressField("from", null=True, blank=True, unpack_ipv4=True)
    request_id = models.CharField(max_length=64, blank=True, help_text="As in the log and in X-Request-ID.")
    run = models.UUIDField(null=True, blank=True, help_text="Of the staff run that made the change, if it was one.")
    detail = models.JSONField(default=dict, blank=True)
    seal = models.ForeignKey(
        AuditSeal,
        null=True,
        blank=True,
        editable=False,
        on_delete=models.PROTECT,
        db_index=False,
        related_name="events",
    )

    class Meta:
        ordering = ("-at", "-pk")
        indexes = [
            models.Index(fields=["seal", "id"], name="audit_by_seal"),
            models.Index(fields=["-at", "-id"], name="audit_by_time"),
            models.Index(fields=["actor", "action", "at"], name="audit_by_actor"),
            models.Index(fields=["actor", "-id"], name="audit_newest_of_actor"),
            models.Index(fields=["object_type", "object_id", "-id"], name="audit_newest_of_object"),
            models.Index(fields=["run", "id"], condition=models.Q(run__isnull=False), name="audit_by_run"),
            models.Index(fields=["action", "-at", "-id"], name="audit_newest_of_action"),
            models.Index(fields=["ip_address", "-at", "-id"], name="audit_newest_of_address"),
            models.Index(fields=["target"], opclasses=["text_pattern_ops"], name="audit_events_by_target"),
            models.Index(fields=["request_id"], name="audit_by_request"),
        ]

    def __str__(self) -> str:
        return f"{self.actor_name} {self.action} {self.target}"


class StaffRun(models.Model):
    """One action of staff on rows of one model; see `registry_site.staff_runs`. Its events have its id."""

    id = models.UUIDField(primary_key=True, default=uuid4, editable=False)
    action = models.CharField(max_length=64, help_text="The name of the action.")
    label = models.CharField(max_length=200, help_text="The action as staff chose it.")
    done = models.CharField(max_length=64, help_text="The word for a changed row, such as banned.")
    model = models.CharField(max_length=100, help_text="Of the rows, such as accounts.user.")
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, db_index=False, related_name="+"
    )
    actor_name = models.CharField(max_length=255)
    reason = models.CharField(max_length=1000, blank=True)
    started_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True, help_text="Empty while it is under way, and for ever if it was cut off.")
    total = models.PositiveIntegerField(help_text="Chosen rows.")
    changed = models.PositiveIntegerField(default=0)
    unchanged = models.PositiveIntegerField(default=0)
    refused = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)
    problems = models.JSONField(default=list, help_text="The first rows that were refused or failed, and why.")
    undoes = models.ForeignKey("self", null=True, on_delete=models.SET_NULL, related_name="undone_by")

    class Meta:
        verbose_name = "run of an action"
        verbose_name_plural = "runs of actions"
        ordering = ("-started_at",)
        indexes = [models.Index(fields=["-started_at"], name="staff_run_newest_first")]

    def __str__(self) -> str:
        return f"{self.label} by {self.actor_name}"


class AnnouncementQuerySet(models.QuerySet["Announcement"]):
    def pending(self) -> Self:
        """Select those that are shown, or will be."""
        return self.filter(Q(ends_at=None) | Q(ends_at__gt=timezone.now()), withdrawn_at=None)


class Announcement(models.Model):
    """A text of staff for everybody; see `registry_site.announcements`."""

    class Level(models.TextChoices):
        NOTICE = "notice", "notice"
        WARNING = "warning", "warning"

    MAX_LENGTH = 1000

    text = models.CharField(max_length=MAX_LENGTH, help_text="Plain text. Addresses with https:// are links.")
    level = models.CharField(max_length=16, choices=Level, default=Level.NOTICE)
    starts_at = models.DateTimeField(default=timezone.now)
    ends_at = models.DateTimeField(null=True, blank=True)
    on_pages = models.BooleanField("on every page", default=True)
    in_publish_warnings = models.BooleanField("to those who publish a crate", default=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, editable=False, on_delete=models.SET_NULL, related_name="+"
    )
    withdrawn_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects: ClassVar[AnnouncementQuerySet] = AnnouncementQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ("-starts_at", "-pk")
        constraints = [
            models.CheckConstraint(
                condition=Q(ends_at=None) | Q(ends_at__gt=F("starts_at")), name="announcement_ends_after_its_start"
            )
        ]

    def __str__(self) -> str:
        return Truncator(self.text).chars(60)

    def state_at(self, moment: datetime) -> str:
        """Return how it stands at a moment, in words."""
        if self.withdrawn_at is not None:
            return "withdrawn"
        if self.ends_at is not None and self.ends_at <= moment:
            return "over"
        return "to come" if moment < self.starts_at else "shown"

    def is_shown_at(self, moment: datetime) -> bool:
        return self.state_at(moment) == "shown"


class StoredBlob(models.Model):
    """A blob that is stored, or was to be; see `registry_site.storage.stored_blobs`."""

    sha256 = models.CharField("SHA-256", primary_key=True, max_length=64)
    size = models.PositiveBigIntegerField(help_text="Bytes.")
    put_at = models.DateTimeField(default=timezone.now)
    claimed_at = models.DateTimeField(null=True, help_text="When a process began to delete it.")

    def __str__(self) -> str:
        return self.sha256


class OutboxEntry(models.Model):
    """A mail that is to be sent, or work that leads to mails; see `registry_site.outbox`."""

    class State(models.TextChoices):
        PENDING = "pending"
        SENT = "sent"
        FAILED = "failed"

    labels: ClassVar[dict[str, str]] = {}  # of the kinds, in words; `registry_site.outbox` registers both

    uuid = models.UUIDField(default=uuid4, editable=False, help_text="Stands in the Message-ID, so it stays the same.")
    kind = models.CharField(max_length=64)
    recipient = models.EmailField(blank=True)
    mailbox = models.EmailField(blank=True, help_text="The recipient without what many mail servers ignore.")
    key = models.CharField(max_length=64, blank=True, help_text="Mails of one kind, recipient and key may be joined.")
    created_at = models.DateTimeField(default=timezone.now)
    due_at = models.DateTimeField(
        default=timezone.now, help_text="Of the next attempt; during one, when another worker may begin its own."
    )
    give_up_at = models.DateTimeField()
    attempts = models.PositiveSmallIntegerField(default=0)
    state = models.CharField(max_length=10, choices=State, default=State.PENDING)
    ended_at = models.DateTimeField(null=True, help_text="When it was sent, or given up.")
    error = models.CharField(max_length=500, blank=True, help_text="Of the last attempt.")
    arguments = models.JSONField(default=dict, help_text="What its kind needs to write it; never a secret.")

    class Meta:
        verbose_name = "mail or job"
        verbose_name_plural = "mails and jobs"
        ordering = ("-created_at", "-pk")
        indexes = [
            models.Index(fields=["due_at", "id"], condition=models.Q(state="pending"), name="outbox_by_due_time"),
            models.Index(fields=["mailbox", "created_at"], name="outbox_by_mailbox"),
            models.Index(fields=["-created_at", "-id"], name="outbox_newest_first"),
        ]

    def __str__(self) -> str:
        return f"{self.label} {self.pk}"

    @property
    def label(self) -> str:
        return self.labels.get(self.kind, self.kind)


class Change(models.Model):
    """A change of something that workers keep in memory. Triggers write these rows; see `registry_site.change_log`."""

    kind = models.CharField(max_length=16)
    key = models.CharField(max_length=100, help_text="What has changed; empty for all of its kind.")
    at = models.DateTimeField()
    transaction = models.BigIntegerField(null=True, help_text="The number of the transaction, on PostgreSQL.")

    class Meta:
        indexes = [
            models.Index(fields=["transaction"], condition=Q(transaction__isnull=False), name="changes_by_transaction")
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.key}"


class CounterRow(models.Model):
    """Counters in a row of their own, so that counting never rewrites the row of what is counted.

    `registry_site.download_counts.add_to_rows` adds to them.
    """

    KEY: ClassVar[tuple[str, ...]]  # the fields that are unique together
    COUNTERS: ClassVar[tuple[str, ...]]

    class Meta:
        abstract = True


class CounterShard(CounterRow):
    """A part of a counter; see `registry_site.counters`."""

    KEY = ("name", "shard")
    COUNTERS = ("value",)

    name = models.CharField(max_length=64)
    shard = models.PositiveSmallIntegerField()
    value = models.BigIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["name", "shard"], name="each_shard_once")]

    def __str__(self) -> str:
        return f"{self.name}, shard {self.shard}: {self.value}"


class DownloadsOfDay(CounterRow):
    """Downloads on one day, in UTC. Those of a whole month stand on its first day, once it is long over.

    They are deleted together with what was downloaded, and never before.
    """

    COUNTERS: ClassVar[tuple[str, ...]] = ("count",)

    day = models.DateField(db_index=True)
    count = models.PositiveBigIntegerField(default=0)

    class Meta:
        abstract = True


class DownloadTotal(CounterRow):
    """All downloads since the counting began."""

    COUNTERS: ClassVar[tuple[str, ...]] = ("total",)

    total = models.PositiveBigIntegerField(default=0)

    class Meta:
        abstract = True


class RecentDownloadTotal(DownloadTotal):
    """All downloads, and those of the last days; `manage.py purge` takes out what is no longer recent."""

    COUNTERS: ClassVar[tuple[str, ...]] = ("total", "recent")

    recent = models.PositiveBigIntegerField(default=0)

    class Meta:
        abstract = True

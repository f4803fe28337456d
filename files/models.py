"""Models: clients with their keys and sessions, and files."""

from datetime import datetime, timedelta
from typing import Any, ClassVar, Self

from django.db import models
from django.db.models import Q
from django.utils import timezone

from files import names
from registry_site.models import CounterRow, DownloadsOfDay, DownloadTotal


class BytewiseTextField(models.TextField):  # type: ignore[type-arg]  # it takes none at run time
    """A text compared byte by byte, so that an index serves ranges of it."""

    def db_parameters(self, connection: Any) -> Any:
        # SQLite compares bytes by default. PostgreSQL uses the locale, whose order has no range for a prefix.
        collation = "C" if connection.vendor == "postgresql" else None
        return {**super().db_parameters(connection), "collation": collation}


class Rights(models.TextChoices):
    """The rights of a client."""

    READ = "READ", "read only"
    WRITE = "WRITE", "read and write"


class Client(models.Model):
    """A machine with a key. Its row is never deleted: the audit log refers to it."""

    name = models.CharField(max_length=names.MAX_CLIENT_NAME_LENGTH, unique=True)
    description = models.CharField(max_length=1000, blank=True)
    maintainer = models.CharField(max_length=200, blank=True)
    email = models.EmailField("e-mail address", blank=True)
    rights = models.CharField(max_length=5, choices=Rights, default=Rights.WRITE)
    roots = models.TextField(
        blank=True,
        help_text="Directories from which it may register files, one per line. Empty: all of REGISTRY_FILE_ROOTS.",
    )
    is_active = models.BooleanField("active", default=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    # These outlive the sessions, which are deleted soon after their end.
    last_seen_at = models.DateTimeField(
        "last seen", null=True, blank=True, editable=False, help_text="With a session, to the hour."
    )
    last_seen_ip = models.GenericIPAddressField("from", null=True, blank=True, editable=False)
    last_failure_at = models.DateTimeField("last failed handshake", null=True, blank=True, editable=False)
    last_failure_ip = models.GenericIPAddressField("failed from", null=True, blank=True, editable=False)

    class Meta:
        verbose_name = "machine"
        verbose_name_plural = "machines"
        ordering = ("name",)
        constraints = [models.CheckConstraint(condition=Q(rights__in=Rights.values), name="client_has_known_rights")]

    def __str__(self) -> str:
        return self.name

    @property
    def is_authenticated(self) -> bool:
        """Return True: DRF asks, and only a session puts a client into `request.user`."""
        return True

    @classmethod
    def lock_for_update(cls, pk: int) -> "Client":
        """Lock the row of a client until the transaction ends, and return the client as it is now.

        Whatever ends sessions, stores a key or changes rights takes this lock first, so that a session or a change of
        a file at the same moment comes wholly before or wholly after it.
        """
        return cls.objects.select_for_update(no_key=True).get(pk=pk)


class ClientKey(models.Model):
    """The key that a client shares with the registry, stored encrypted."""

    client = models.ForeignKey(Client, on_delete=models.CASCADE, related_name="keys")
    cipher = models.CharField(max_length=16)
    secret = models.TextField(editable=False)
    bits = models.PositiveSmallIntegerField()
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["client", "cipher"], name="one_key_for_each_cipher_of_a_client")]

    def __str__(self) -> str:
        return f"{self.cipher}, {self.bits} bits"


class FailedHandshakes(CounterRow):
    """Failed handshakes of a client on a day, in UTC."""

    KEY = ("client", "day")
    COUNTERS = ("count",)

    client = models.ForeignKey(Client, on_delete=models.CASCADE, related_name="failed_handshakes", db_index=False)
    day = models.DateField()
    count = models.PositiveBigIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["client", "day"], name="failed_handshakes_of_client_and_day")]

    def __str__(self) -> str:
        return f"{self.client} on {self.day}: {self.count}"


class AnsweredChallenge(models.Model):
    """The id of an answered challenge. Its primary key lets one answer use a challenge up, right or wrong."""

    id = models.CharField(primary_key=True, max_length=32, editable=False)
    expires_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return self.id


class SessionQuerySet(models.QuerySet["Session"]):
    def live(self) -> Self:
        return self.filter(ended_at=None, expires_at__gt=timezone.now(), client__is_active=True)

    def dead(self) -> Self:
        return self.filter(Q(expires_at__lte=timezone.now()) | Q(ended_at__isnull=False))

    def end(self) -> int:
        """End the sessions that have not ended yet, and return their number."""
        return self.filter(ended_at=None).update(ended_at=timezone.now())


class Session(models.Model):
    """A session, opened by the right answer to a challenge. Only the digest of its token is stored."""

    client = models.ForeignKey(Client, on_delete=models.CASCADE, related_name="sessions")
    digest = models.CharField(max_length=64, unique=True, editable=False)
    peer = models.GenericIPAddressField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)

    objects: ClassVar[SessionQuerySet] = SessionQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        verbose_name = "session of a machine"
        verbose_name_plural = "sessions of machines"
        ordering = ("-created_at",)
        indexes = [
            models.Index(fields=["expires_at"], name="sessions_by_end"),
            models.Index(fields=["peer"], name="sessions_by_address"),
        ]

    def __str__(self) -> str:
        return f"{self.client} since {self.created_at:%Y-%m-%d %H:%M}"

    @property
    def is_live(self) -> bool:
        return self.ended_at is None and self.expires_at > timezone.now() and self.client.is_active


class FileQuerySet(models.QuerySet["File"]):
    def live(self) -> Self:
        return self.filter(alive=True)


class File(models.Model):
    """A file on the server's own disk, or an uploaded one."""

    path = BytewiseTextField(help_text="On the server's disk; for an upload, `upload:` and its SHA-256.")
    serve_path = BytewiseTextField(help_text="Path on the receiver.")
    size = models.BigIntegerField(help_text="In bytes.")
    category = models.CharField(max_length=names.MAX_CATEGORY_LENGTH, null=True, blank=True)  # noqa: DJ001 - the API has null
    aired = models.BooleanField(default=False)
    alive = models.BooleanField(default=True)
    uploaded_at = models.DateTimeField("uploaded")
    modified_at = models.DateTimeField("modified")
    expires_at = models.DateTimeField("expiration", null=True, blank=True)
    # The registered content: an upload has `sha256`; a file on the disk is recognized by `size` and `mtime_ns`.
    sha256 = models.CharField("SHA-256", max_length=64, blank=True, help_text="Only for uploads.")
    mtime_ns = models.BigIntegerField(default=0)
    uploaded_by = models.CharField(
        max_length=255, blank=True, editable=False, help_text="The author of the uploaded bytes, as in the audit log."
    )

    objects: ClassVar[FileQuerySet] = FileQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ("id",)
        constraints = [
            models.UniqueConstraint(
                fields=["serve_path"], condition=Q(alive=True), name="one_live_file_at_a_serve_path"
            )
        ]
        indexes = [
            models.Index(fields=["serve_path"], name="files_by_serve_path"),
            models.Index(fields=["path"], name="files_by_path"),
            models.Index(fields=["modified_at", "id"], name="files_by_change"),
            models.Index(fields=["uploaded_at", "id"], name="files_by_upload"),
            models.Index(fields=["category", "id"], name="files_of_category"),
            models.Index(fields=["category", "modified_at", "id"], name="files_of_category_by_change"),
            models.Index(fields=["category", "uploaded_at", "id"], name="files_of_category_by_upload"),
            # Partial indexes, for the value that is rare: SQLite would not use an index on a boolean column.
            models.Index(fields=["id"], condition=Q(alive=False), name="dead_files"),
            models.Index(fields=["id"], condition=Q(aired=True), name="aired_files"),
            models.Index(fields=["id"], condition=Q(aired=False), name="files_to_air"),
            models.Index(fields=["expires_at"], condition=Q(alive=True), name="live_files_by_expiration"),
        ]

    def __str__(self) -> str:
        return str(self.serve_path)


class ChangeSequence(models.Model):
    """The one row with the time of the last change of any file, locked by each change until its commit.

    Times of changes therefore grow in the order of the commits, even if the clock of a server steps back. A client
    that polls with `since` and the last time it saw misses no change.
    """

    changed_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.changed_at.isoformat()

    @classmethod
    def next(cls, count: int = 1) -> list[datetime]:
        """Return the times of the next `count` changes, each later than all before; call inside a transaction."""
        sequence, _ = cls.objects.select_for_update().get_or_create(pk=1, defaults={"changed_at": timezone.now()})
        # A microsecond is the resolution of both databases and of the API.
        first = max(timezone.now(), sequence.changed_at + timedelta(microseconds=1))
        times = [first + timedelta(microseconds=number) for number in range(count)]
        sequence.changed_at = times[-1]
        sequence.save(update_fields=["changed_at"])
        return times


class DailyDownloads(DownloadsOfDay):
    """Downloads of a file on a day."""

    KEY = ("file", "day")

    file = models.ForeignKey(File, on_delete=models.CASCADE, related_name="daily_downloads", db_index=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["file", "day"], name="downloads_of_file_and_day")]

    def __str__(self) -> str:
        return f"{self.file} on {self.day}"


class ClientDownloads(DownloadsOfDay):
    """Downloads by a client on a day."""

    KEY = ("client", "day")

    client = models.ForeignKey(Client, on_delete=models.CASCADE, related_name="daily_downloads", db_index=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["client", "day"], name="downloads_of_client_and_day")]

    def __str__(self) -> str:
        return f"{self.client} on {self.day}"


class FileDownloads(DownloadTotal):
    """All downloads of a file; the row comes with the first."""

    KEY = ("file",)

    file = models.OneToOneField(File, primary_key=True, on_delete=models.CASCADE, related_name="downloads")

    def __str__(self) -> str:
        return f"{self.file}: {self.total}"


class FetchedFile(models.Model):
    """When a client last fetched a file; only the newest of each client are kept, see `files.download_counts`."""

    MAX_OF_CLIENT = 100

    file = models.ForeignKey(File, on_delete=models.CASCADE, related_name="+", db_index=False)
    client = models.ForeignKey(Client, on_delete=models.CASCADE, related_name="fetched_files", db_index=False)
    fetched_at = models.DateTimeField("fetched last", help_text="To some seconds.")

    class Meta:
        verbose_name = "file that a machine fetched"
        verbose_name_plural = "files that machines fetched"
        ordering = ("-fetched_at", "-pk")
        constraints = [models.UniqueConstraint(fields=["file", "client"], name="each_file_once_of_a_client")]
        indexes = [
            models.Index(fields=["client", "-fetched_at", "-id"], name="fetched_files_of_client"),
            models.Index(fields=["-fetched_at", "-id"], name="fetched_files_newest_first"),
        ]

    def __str__(self) -> str:
        return f"{self.file} by {self.client}"

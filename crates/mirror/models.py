"""Rows of the mirror: cached index files and crates, incidents with upstream, and decisions of staff."""

from datetime import datetime, timedelta
from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import Func, Q, Value
from django.db.models.functions import Replace
from django.utils import timezone

from accounts.models import User
from crates.package.manifest import MAX_DESCRIPTION_LENGTH
from registry_site.models import DownloadsOfDay, DownloadTotal, RecentDownloadTotal
from registry_site.storage.blobs import Blob

STORE = "mirror"  # a store of its own: its bytes can be fetched again, so they may be deleted
ABSENCE_TTL = timedelta(seconds=60)  # short, since a crate that somebody looks for may be published any moment


# Of a name in lower case, as `names.canonical` has it. The index below has the same, but SQLite would not recognize it
# in queries: there `Value` is a parameter.
CANONICAL_NAME = Func("name", template="REPLACE(%(expressions)s, '-', '_')", output_field=models.CharField())


class CachedIndexFile(models.Model):
    """The index file of one crate, byte by byte as upstream sent it, or upstream's answer that there is none."""

    path = models.CharField(max_length=80, unique=True, help_text="Path in the index, such as se/rd/serde.")
    name = models.CharField(max_length=64, db_index=True, help_text="In lower case.")
    upstream = models.CharField(max_length=500, blank=True, help_text="Index URL of the upstream that has the crate.")
    status = models.PositiveSmallIntegerField(help_text="200, or 404, 410 or 451 if upstream has no such crate.")
    body = models.BinaryField(default=b"")
    etag = models.CharField(max_length=200, blank=True, help_text="Sent to upstream as If-None-Match.")
    last_modified = models.CharField(max_length=100, blank=True, help_text="Sent to upstream as If-Modified-Since.")
    checksums = models.JSONField(default=dict, help_text="Checksum of each version when it was first seen.")
    changed_at = models.DateTimeField(default=timezone.now)
    checked_at = models.DateTimeField(default=timezone.now, db_index=True, help_text="Last answer of upstream.")

    class Meta:
        verbose_name = "mirrored crate"
        verbose_name_plural = "mirrored crates"
        ordering = ("path",)
        indexes = [models.Index(Replace("name", Value("-"), Value("_")), name="index_files_by_canonical_name")]

    def __str__(self) -> str:
        return self.name

    @property
    def page_path(self) -> str:
        """The path of the page that everybody sees."""
        return f"/mirror/crates/{self.name}"

    def stale_at(self) -> datetime:
        ttl = timedelta(seconds=settings.MIRROR_INDEX_TTL)
        return self.checked_at + (ttl if self.status == 200 else min(ttl, ABSENCE_TTL))

    def is_fresh(self) -> bool:
        return timezone.now() < self.stale_at()

    def cached_crates(self) -> "models.QuerySet[CachedCrate]":
        """Return the cached files of the crate, also of versions that have left its index."""
        return CachedCrate.objects.filter(name=self.name)


class CachedCrate(models.Model):
    """A `.crate` file that was fetched, and whose checksum was compared with the index."""

    name = models.CharField(max_length=64, help_text="In lower case.")
    version = models.CharField(max_length=150)
    sha256 = models.CharField("SHA-256", max_length=64)
    size = models.BigIntegerField(help_text="In bytes.")
    license = models.CharField(max_length=255, blank=True, help_text="From its Cargo.toml.")
    upstream = models.CharField(max_length=500, blank=True)
    fetched_at = models.DateTimeField(default=timezone.now)
    last_used_at = models.DateTimeField(default=timezone.now, help_text="Written at most once a day.")

    class Meta:
        verbose_name = "stored file of a mirrored crate"
        verbose_name_plural = "stored files of mirrored crates"
        ordering = ("name", "version")
        constraints = [models.UniqueConstraint(fields=["name", "version", "sha256"], name="each_cached_crate_once")]
        indexes = [
            models.Index(fields=["last_used_at"], name="cached_crates_by_use"),
            models.Index(fields=["sha256"], name="cached_crates_by_checksum"),
        ]

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"

    def blob(self) -> Blob:
        return Blob(self.sha256, self.size, STORE)


class CrateFacts(models.Model):
    """What a cached `.crate` file says of its version, which the index lacks; empty is what nobody can read."""

    crate = models.OneToOneField(CachedCrate, primary_key=True, on_delete=models.CASCADE, related_name="facts")
    examined = models.PositiveSmallIntegerField(
        db_index=True, help_text="Revision of the rules by which the file was read; 0 if its manifest alone was."
    )
    description = models.CharField(max_length=MAX_DESCRIPTION_LENGTH, blank=True)
    homepage = models.CharField(max_length=2000, blank=True)
    repository = models.CharField(max_length=2000, blank=True)
    documentation = models.CharField(max_length=2000, blank=True)
    license_file = models.CharField(max_length=255, blank=True, help_text="Its path in the file.")
    edition = models.CharField(max_length=16, blank=True)
    has_library = models.BooleanField(null=True)
    binary_names = models.JSONField(null=True)
    line_counts = models.JSONField(null=True, help_text="Lines of code and comments, and files, by language.")
    keywords = models.JSONField(default=list)
    categories = models.JSONField(default=list)
    readme_path = models.CharField(max_length=511, blank=True, help_text="In the repository.")
    readme_text = models.TextField(blank=True)

    class Meta:
        verbose_name_plural = "crate facts"

    def __str__(self) -> str:
        return f"facts of {self.crate}"


class IndexSummary(models.Model):
    """What lists show of an index file, worked out when it is stored: they cannot read megabytes for each crate.

    Crates that upstream has removed have none.
    """

    index_file = models.OneToOneField(CachedIndexFile, on_delete=models.CASCADE, related_name="summary")
    name = models.CharField(max_length=64, help_text="As upstream spells it.")
    canonical_name = models.CharField(max_length=64)
    name_words = models.CharField(max_length=300, help_text="The name without separators, then its words.")
    version_count = models.PositiveIntegerField()
    max_version = models.CharField(max_length=150, blank=True, help_text="The highest that is not yanked.")
    max_stable_version = models.CharField(max_length=150, blank=True)
    default_version = models.CharField(max_length=150, blank=True)
    newest_version = models.CharField(max_length=150, blank=True, help_text="The last that is not yanked.")
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField(db_index=True)
    first_usable_at = models.DateTimeField(
        null=True, help_text="Publication of the first version that is not yanked, long ago if the index does not say."
    )
    # Without a constraint: its check would wait for a file that is being deleted, and that for this row.
    described_by = models.ForeignKey(
        CachedCrate, null=True, on_delete=models.DO_NOTHING, db_constraint=False, related_name="+"
    )
    lines = models.JSONField(help_text="What policies need of each version: number, checksum, yanked, publication.")

    class Meta:
        ordering = ("canonical_name",)
        indexes = [
            models.Index(fields=["canonical_name", "first_usable_at"], name="mirrored_by_name"),  # counts read it alone
            models.Index(fields=["-created_at"], name="mirrored_by_creation"),
        ]
        verbose_name_plural = "index summaries"

    def __str__(self) -> str:
        return self.name


class Topic(models.Model):
    """A keyword or category of a mirrored crate, from the file that describes it."""

    class Kind(models.TextChoices):
        KEYWORD = "keyword"
        CATEGORY = "category"
        PARENT = "parent", "a category above one of the crate"

    summary = models.ForeignKey(IndexSummary, on_delete=models.CASCADE, related_name="topics")
    kind = models.CharField(max_length=16, choices=Kind)
    word = models.CharField(max_length=64)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["word", "kind", "summary"], name="each_topic_of_a_crate_once")]

    def __str__(self) -> str:
        return f"{self.summary}: {self.word}"


class Incident(models.Model):
    """A fault of upstream or of stored bytes that staff should look at. Repetitions are counted in the same row."""

    class Kind(models.TextChoices):
        CHANGED = "changed", "a checksum changed"
        WRONG_BYTES = "wrong_bytes", "other bytes than the index says"
        REFUSED_ARCHIVE = "refused_archive", "an archive that is refused here"
        DAMAGED = "damaged", "stored bytes are damaged or gone"
        FAULT = "fault", "no answer, or not as it should be"

    kind = models.CharField(max_length=16, choices=Kind)
    subject = models.CharField(
        max_length=300, help_text="An upstream, a crate, or one of its versions: serde, serde@1.0.0."
    )
    detail = models.CharField(max_length=500)
    changes = models.JSONField(
        default=dict, editable=False, help_text="Of checksums: by version, the one first seen and the new one."
    )
    count = models.PositiveIntegerField(default=1)
    first_at = models.DateTimeField(default=timezone.now)
    last_at = models.DateTimeField(default=timezone.now)
    settled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-last_at",)
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "subject"], condition=Q(settled_at=None), name="one_open_incident_of_a_kind"
            )
        ]

    def __str__(self) -> str:
        return f"{self.subject}: {self.get_kind_display()}"


class UpstreamHealth(models.Model):
    """When an upstream last answered as it should, and when it last failed."""

    url = models.CharField(primary_key=True, max_length=500)
    answered_at = models.DateTimeField(null=True, help_text="Written at most once a minute.")
    failed_at = models.DateTimeField(null=True)
    failure = models.CharField(max_length=300, blank=True, help_text="The last one.")

    class Meta:
        verbose_name_plural = "health of upstreams"

    def __str__(self) -> str:
        return self.url

    @property
    def is_failing(self) -> bool:
        return self.failed_at is not None and (self.answered_at is None or self.answered_at < self.failed_at)


class OverrideQuerySet(models.QuerySet["Override"]):
    def active(self) -> Self:
        return self.filter(Q(until=None) | Q(until__gt=timezone.now()), ended_at=None)


class Override(models.Model):
    """A decision of staff about versions of a crate. It goes before all policies."""

    class Kind(models.TextChoices):
        BLOCKED = "blocked", "blocked: nobody gets them, not even locked builds"
        EXEMPT = "exempt", "exempt from the policies"

    kind = models.CharField(max_length=16, choices=Kind)
    name = models.CharField("crate", max_length=64, help_text="In any spelling.")
    requirement = models.CharField(
        "versions", max_length=200, default="*", help_text="As in a Cargo.toml: *, =1.2.3, or >=1, <1.4."
    )
    reason = models.CharField(max_length=500, help_text="Shown to everybody who requests these versions.")
    until = models.DateTimeField(null=True, blank=True, help_text="Leave empty to keep it until staff end it.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    created_by = models.ForeignKey(
        User, null=True, blank=True, editable=False, on_delete=models.SET_NULL, related_name="+"
    )
    ended_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = OverrideQuerySet.as_manager()

    class Meta:
        ordering = ("-created_at",)
        indexes = [models.Index(fields=["name"], name="overrides_not_ended", condition=Q(ended_at=None))]

    def __str__(self) -> str:
        return f"{self.name}@{self.requirement}: {self.kind}"

    @property
    def is_active(self) -> bool:
        return self.ended_at is None and (self.until is None or self.until > timezone.now())


class AllowedName(models.Model):
    """A name that an account may publish here, although upstream has a crate of it."""

    name = models.CharField("crate", max_length=64, help_text="In any spelling.")
    user = models.ForeignKey(
        User,
        null=True,
        on_delete=models.CASCADE,
        related_name="+",
        help_text="Who may publish the first version, and becomes the owner.",
    )
    allowed_at = models.DateTimeField(default=timezone.now, editable=False)
    allowed_by = models.ForeignKey(
        User, null=True, blank=True, editable=False, on_delete=models.SET_NULL, related_name="+"
    )

    class Meta:
        ordering = ("name",)
        constraints = [models.UniqueConstraint(fields=["name"], name="each_allowed_name_once")]

    def __str__(self) -> str:
        return self.name


class DailyDownloads(DownloadsOfDay):
    """Downloads of a version of a mirrored crate on a day. They outlive the cached file, and so refer to no row."""

    KEY = ("name", "version", "day")

    name = models.CharField(max_length=64, help_text="In lower case.")
    version = models.CharField(max_length=150)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["name", "version", "day"], name="mirror_downloads_of_day")]

    def __str__(self) -> str:
        return f"{self.name}@{self.version} on {self.day}"


class VersionDownloads(DownloadTotal):
    """All downloads of a version of a mirrored crate."""

    KEY = ("name", "version")

    name = models.CharField(max_length=64, help_text="In lower case.")
    version = models.CharField(max_length=150)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["name", "version"], name="mirror_downloads_of_version")]

    def __str__(self) -> str:
        return f"{self.name}@{self.version}: {self.total}"


class CrateDownloads(RecentDownloadTotal):
    """Downloads of a mirrored crate; the row comes with the first."""

    KEY = ("name",)

    name = models.CharField(max_length=64, primary_key=True, help_text="In lower case.")

    class Meta:
        indexes = [
            models.Index(fields=["-total", "name"], name="mirrored_by_downloads"),
            models.Index(fields=["-recent", "name"], name="mirrored_by_recent_downloads"),
        ]

    def __str__(self) -> str:
        return f"{self.name}: {self.total}"

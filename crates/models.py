"""Crates, their versions and their owners. Rows are the truth; index files are derived from them.

`objects` of crates and versions leaves out those that were removed: whoever means them, too, says `with_removed`.
"""

from typing import Self, TypeVar

from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from accounts.models import User
from crates import names
from registry_site.models import DownloadsOfDay, DownloadTotal, RecentDownloadTotal

Row = TypeVar("Row", bound=models.Model)


class Keyword(models.Model):
    """A word by which publishers describe crates."""

    word = models.CharField(max_length=128, help_text="In lower case.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    crate_count = models.PositiveIntegerField(default=0, editable=False)  # kept by `crates.taxonomy`

    class Meta:
        ordering = ("word",)
        constraints = [models.UniqueConstraint(fields=["word"], name="each_keyword_once")]
        indexes = [models.Index(F("crate_count").desc(), F("word"), name="keywords_by_crate_count")]

    def __str__(self) -> str:
        return self.word


class Category(models.Model):
    """A subject of crates, such as `development-tools::testing`."""

    slug = models.CharField(max_length=64)
    name = models.CharField(max_length=128)
    description = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    crate_count = models.PositiveIntegerField(default=0, editable=False)  # kept by `crates.taxonomy`

    class Meta:
        ordering = ("slug",)
        constraints = [models.UniqueConstraint(fields=["slug"], name="each_category_once")]
        indexes = [models.Index(F("crate_count").desc(), F("slug"), name="categories_by_crate_count")]
        verbose_name_plural = "categories"

    def __str__(self) -> str:
        return self.slug

    @property
    def short_name(self) -> str:
        """The name without those of the categories above."""
        return self.name.rpartition("::")[2]


class Removal(models.Model):
    """What staff or owners have removed, and why; see `crates.removal`."""

    removed_at = models.DateTimeField(null=True, editable=False)
    removed_by = models.ForeignKey(User, null=True, editable=False, on_delete=models.SET_NULL, related_name="+")
    removal_reason = models.CharField(max_length=500, editable=False, default="", help_text="Shown to everybody.")

    class Meta:
        abstract = True


class Present(models.Manager[Row]):
    def get_queryset(self) -> models.QuerySet[Row]:
        """Leave out what was removed."""
        return super().get_queryset().filter(removed_at=None)


class CrateQuerySet(models.QuerySet["Crate"]):
    def named(self, name: str) -> Self:
        """Select the crate of this name; case, `-` and `_` do not count."""
        return self.filter(canonical_name=names.canonical(name))

    def usable(self) -> Self:
        """Select the crates with a version that is not yanked."""
        return self.exclude(max_version=None)

    def for_update(self) -> Self:
        """Lock the selected rows until the transaction ends."""
        # Primary keys never change, so that other rows may refer to the crate meanwhile (FOR NO KEY UPDATE).
        return self.select_for_update(no_key=True)


PresentCrates = Present.from_queryset(CrateQuerySet)


class Crate(Removal):
    """A crate, and what identifies its index file, whose lines are rows of their own.

    The row of a removed crate stays, with no foremost version and an empty index file: its numbers never come back.
    """

    class Upstream(models.TextChoices):
        LACKS = "lacks", "lacks the name; the mirror never asks for it"
        HAS = "has", "has a crate of this name, too, which the mirror serves"
        UNKNOWN = "unknown", "has not answered yet"

    name = models.CharField(max_length=64, help_text="As it was first published.")
    canonical_name = models.CharField(max_length=64, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    upstream = models.CharField(
        max_length=16, choices=Upstream, default=Upstream.LACKS, editable=False, help_text="At the first publish."
    )
    owners = models.ManyToManyField(User, through="Ownership", through_fields=("crate", "user"), related_name="crates")
    is_removed_by_staff = models.BooleanField(default=False, editable=False)

    # Derived from the versions by `crates.derived_fields`, in the transaction that changes one.
    max_version = models.ForeignKey(
        "Version",
        null=True,
        editable=False,
        on_delete=models.SET_NULL,
        related_name="+",
        help_text="The highest version that is not yanked.",
    )
    default_version = models.ForeignKey(
        "Version",
        null=True,
        editable=False,
        on_delete=models.SET_NULL,
        related_name="+",
        help_text="The version that describes the crate: not yanked before yanked, stable before pre-release, highest.",
    )
    newest_version = models.ForeignKey(
        "Version",
        null=True,
        editable=False,
        on_delete=models.SET_NULL,
        related_name="+",
        help_text="The last published version that is not yanked.",
    )
    version_count = models.PositiveIntegerField(default=0, editable=False)
    updated_at = models.DateTimeField(default=timezone.now, editable=False)
    keywords = models.ManyToManyField(Keyword, related_name="crates", editable=False)  # of the default version
    categories = models.ManyToManyField(Category, related_name="crates", editable=False)
    index_path = models.CharField(max_length=80, editable=False)
    index_etag = models.CharField(max_length=70, editable=False, default="")
    index_modified = models.DateTimeField(editable=False, default=timezone.now)
    index_size = models.PositiveIntegerField(editable=False, default=0, help_text="Bytes of all lines.")

    objects = PresentCrates()
    with_removed = CrateQuerySet.as_manager()

    class Meta:
        ordering = ("canonical_name",)
        constraints = [
            models.UniqueConstraint(fields=["canonical_name"], name="one_crate_per_canonical_name"),
            models.UniqueConstraint(fields=["index_path"], name="one_crate_per_index_path"),
        ]
        indexes = [
            models.Index(fields=["updated_at", "id"], name="crates_by_time_of_change"),
            models.Index(fields=["created_at", "id"], name="crates_by_time_of_creation"),
            models.Index(fields=["canonical_name"], condition=~Q(removed_at=None), name="removed_crates"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_new(self) -> bool:
        """Whether it has never had a version: nothing that follows from versions is stored."""
        return not (self.index_etag or self.version_count)


class Version(Removal):
    """A published version. Only `yanked` and its removal, and what belongs to them, ever change.

    No row is ever deleted: number and checksum of a removed version stay, so that it never comes back with other bytes.

    What was read from the `.crate` since `examined` has a number is empty for an older version until `refreshcrates`.
    """

    LARGE_COLUMNS = ("dependencies", "features", "license", "links")  # lists leave them out

    crate = models.ForeignKey(Crate, on_delete=models.PROTECT, related_name="versions")
    number = models.CharField(max_length=150)
    release = models.CharField(max_length=150, editable=False, help_text="The number without build metadata.")
    checksum = models.CharField(max_length=64, help_text="SHA-256 of the .crate file.")
    size = models.PositiveIntegerField(help_text="Bytes of the .crate file.")
    published_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="published_versions")
    published_at = models.DateTimeField(default=timezone.now)
    published_with = models.CharField(
        max_length=80, blank=True, editable=False, help_text="The name of the token, or how the publisher signed on."
    )
    yanked = models.BooleanField(default=False)
    yanked_at = models.DateTimeField(null=True, blank=True)
    yank_message = models.CharField(max_length=1000, blank=True)
    destroyed_at = models.DateTimeField(
        null=True, editable=False, help_text="Since then the row has none of its texts, and nobody can restore it."
    )
    erased_at = models.DateTimeField(
        null=True, editable=False, help_text="When `manage.py purge` had erased its file and the traces of its texts."
    )

    rust_version = models.CharField(max_length=64, blank=True)
    edition = models.CharField(max_length=16, blank=True)
    library_name = models.CharField(max_length=255, blank=True)
    has_library = models.BooleanField(null=True)
    has_build_script = models.BooleanField(null=True)
    is_proc_macro = models.BooleanField(null=True)
    binary_names = models.JSONField(null=True)
    unpacked_size = models.PositiveBigIntegerField(null=True, help_text="Bytes of the unpacked .crate file.")
    file_count = models.PositiveIntegerField(null=True)
    line_counts = models.JSONField(null=True, help_text="Lines of code and comments, and files, by language.")
    license_expression = models.CharField(max_length=255, blank=True, help_text="The license as SPDX writes it.")
    license_file = models.CharField(max_length=255, blank=True, help_text="Its path in the .crate file.")
    vcs_commit = models.CharField(max_length=64, blank=True)
    examined = models.PositiveSmallIntegerField(
        default=0, editable=False, help_text="Revision of the rules by which the .crate file was read; 0 for never."
    )

    description = models.TextField(blank=True)
    homepage = models.CharField(max_length=2000, blank=True)
    repository = models.CharField(max_length=2000, blank=True)
    documentation = models.CharField(max_length=2000, blank=True)
    keywords = models.JSONField(default=list)
    categories = models.JSONField(default=list)

    dependencies = models.JSONField(default=list, help_text="In the form of the index.")
    features = models.JSONField(default=dict)
    links = models.TextField(blank=True)
    license = models.TextField(blank=True)

    objects = Present["Version"]()
    with_removed = models.Manager["Version"]()

    class Meta:
        ordering = ("-published_at", "-pk")
        constraints = [models.UniqueConstraint(fields=["crate", "release"], name="one_version_per_release")]
        indexes = [
            models.Index(fields=["published_by", "published_at"], name="version_by_publisher_and_time"),
            models.Index(fields=["crate", "published_at"], name="version_by_crate_and_time"),
            # All numbers of a crate are sorted for a page. Their rows have long texts, so the index alone is read.
            models.Index(fields=["crate", "removed_at", "number"], name="version_by_crate_and_number"),
            models.Index(fields=["checksum"], name="versions_by_checksum"),
            models.Index(fields=["removed_at"], condition=~Q(removed_at=None), name="removed_versions"),
            models.Index(fields=["-published_at", "-id"], name="versions_newest_first"),
            models.Index(fields=["-published_at", "-id"], condition=Q(yanked=True), name="yanked_newest_first"),
        ]

    def __str__(self) -> str:
        return f"{self.crate}@{self.number}"


class IndexLine(models.Model):
    """The line of a version in the index file of its crate, kept by `crates.derived_fields`.

    A publish adds one and a yank replaces one, so that neither costs more for a crate with thousands of versions. The
    file has them in the order of the versions' primary keys. Removed versions have none.
    """

    LARGE_COLUMNS = ("text",)

    version = models.OneToOneField(Version, primary_key=True, on_delete=models.CASCADE, related_name="index_line")
    crate = models.ForeignKey(Crate, on_delete=models.CASCADE, db_index=False, related_name="index_lines")
    text = models.TextField(help_text="With its newline.")

    class Meta:
        indexes = [models.Index(fields=["crate", "version"], name="index_lines_of_crate")]

    def __str__(self) -> str:
        return f"index line of {self.version}"


class VersionContents(models.Model):
    """Long texts from the `.crate` file of a version, and the list of its files. Lists of versions never join it."""

    LARGE_COLUMNS = ("files", "docs_rs", "license_text", "readme_text", "readme_html")

    version = models.OneToOneField(Version, on_delete=models.CASCADE, related_name="contents")
    readme_path = models.CharField(max_length=255, blank=True)
    files = models.JSONField(default=list, help_text="Path, size, and offset in the unpacked tar, of each file.")
    docs_rs = models.JSONField(null=True, help_text="[package.metadata.docs.rs] as it is.")
    license_text = models.TextField(blank=True)
    readme_text = models.TextField(blank=True)
    readme_html = models.TextField(blank=True)

    class Meta:
        verbose_name_plural = "version contents"

    def __str__(self) -> str:
        return f"contents of {self.version}"


class UnrenderedReadme(models.Model):
    """A README whose HTML is due; see `crates.readme_rendering`."""

    contents = models.OneToOneField(
        VersionContents, primary_key=True, on_delete=models.CASCADE, related_name="unrendered_readme"
    )
    path = models.CharField(max_length=600, help_text="In the repository.")

    def __str__(self) -> str:
        return f"README of {self.contents}"


class Dependency(models.Model):
    """A dependency of a version, derived from `Version.dependencies` by `crates.dependency_rows`."""

    LARGE_COLUMNS = ("features", "target")

    class Kind(models.TextChoices):
        NORMAL = "normal"
        BUILD = "build"
        DEV = "dev"

    version = models.ForeignKey(Version, on_delete=models.CASCADE, db_index=False, related_name="dependency_rows")
    position = models.PositiveSmallIntegerField(help_text="In the index line, from 0.")
    name = models.CharField(max_length=64, help_text="The crate's own name.")
    canonical_name = models.CharField(max_length=64)
    explicit_name = models.CharField(max_length=64, blank=True, help_text="The name in the manifest if it differs.")
    registry = models.CharField(max_length=2000, blank=True, help_text="Index URL; empty for this registry.")
    requirement = models.CharField(max_length=512)
    kind = models.CharField(max_length=8, choices=Kind)
    is_optional = models.BooleanField(default=False)
    default_features = models.BooleanField(default=True)
    is_current = models.BooleanField(default=False, help_text="Whether its version is the default one of its crate.")
    features = models.JSONField(default=list)
    target = models.TextField(blank=True)

    class Meta:
        ordering = ("version", "position")
        constraints = [
            models.UniqueConstraint(fields=["version", "position"], name="each_dependency_at_one_position"),
        ]
        indexes = [
            models.Index(
                fields=["canonical_name", "registry", "version"],
                condition=Q(is_current=True),
                name="current_dependents",
            ),
            models.Index(
                fields=["canonical_name", "registry"], condition=Q(is_current=False), name="former_dependents"
            ),
        ]
        verbose_name_plural = "dependencies"

    def __str__(self) -> str:
        return f"{self.name} {self.requirement}"


class Words(models.Model):
    """The words by which a crate is found, of its default version. There is no row while all versions are yanked.

    The database derives its indexes from these columns. They have a table of their own, since a change of any column
    writes all of a row in SQLite, and all its indexes in PostgreSQL.
    """

    version = models.ForeignKey(Version, on_delete=models.CASCADE, related_name="+")
    name_words = models.CharField(max_length=300, help_text="The name without separators, then its words.")
    summary_words = models.TextField(help_text="Of name, description, keywords and categories.")
    text_words = models.TextField(help_text="Of all these and the README.")

    class Meta:
        abstract = True


class CrateWords(Words):
    """The words of each crate."""

    crate = models.OneToOneField(Crate, on_delete=models.CASCADE, related_name="words")
    spelling = models.TextField(blank=True, help_text="Words that similar names share.")

    class Meta:
        verbose_name_plural = "crate words"

    def __str__(self) -> str:
        return f"words of {self.crate}"


class PopularWords(Words):
    """The words of the most popular crates, once more: common words are searched among these first.

    Without them the best of many matches could be missed, for both databases return those of the oldest crates, and
    PostgreSQL would read all of them to return a few: among 100,000 crates a word of half of all READMEs took 1.8 times
    as long as among 1,000, instead of 0.9 times.
    """

    crate = models.OneToOneField(Crate, on_delete=models.CASCADE, related_name="+")

    class Meta:
        verbose_name_plural = "popular words"

    def __str__(self) -> str:
        return f"words of {self.crate}"


class Ownership(models.Model):
    """The right of a user to publish versions of a crate, to yank them and to change the owners."""

    crate = models.ForeignKey(Crate, on_delete=models.CASCADE, related_name="ownerships")
    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="ownerships")
    added_by = models.ForeignKey(User, null=True, editable=False, on_delete=models.SET_NULL, related_name="+")
    added_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        verbose_name = "owner of a crate"
        verbose_name_plural = "owners of crates"
        ordering = ("pk",)
        constraints = [models.UniqueConstraint(fields=["crate", "user"], name="each_owner_once_per_crate")]

    def __str__(self) -> str:
        return f"{self.user} owns {self.crate}"


class Follow(models.Model):
    """A crate whose new versions a user wants to see."""

    crate = models.ForeignKey(Crate, on_delete=models.CASCADE, related_name="follows")
    user = models.ForeignKey(User, on_delete=models.CASCADE, db_index=False, related_name="+")
    since = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "crate"], name="each_follow_once")]

    def __str__(self) -> str:
        return f"{self.user} follows {self.crate}"


class DailyDownloads(DownloadsOfDay):
    """Downloads of a version on a day."""

    KEY = ("version", "day")

    version = models.ForeignKey(Version, on_delete=models.CASCADE, related_name="daily_downloads", db_index=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["version", "day"], name="downloads_of_version_and_day")]

    def __str__(self) -> str:
        return f"{self.version} on {self.day}"


class VersionDownloads(DownloadTotal):
    """All downloads of a version."""

    KEY = ("version",)

    version = models.OneToOneField(Version, primary_key=True, on_delete=models.CASCADE, related_name="downloads")

    def __str__(self) -> str:
        return f"{self.version}: {self.total}"


class CrateDownloads(RecentDownloadTotal):
    """Downloads of a crate; each crate has such a row from its first version on."""

    KEY = ("crate",)

    crate = models.OneToOneField(Crate, primary_key=True, on_delete=models.CASCADE, related_name="downloads")

    class Meta:
        indexes = [
            models.Index(fields=["-total", "crate"], name="crates_by_downloads"),
            models.Index(fields=["-recent", "crate"], name="crates_by_recent_downloads"),
        ]

    def __str__(self) -> str:
        return f"{self.crate}: {self.total}"


class OwnerMail(models.Model):
    """A text of staff that was sent to the owners of crates; see `crates.owner_mails`."""

    MAX_SUBJECT_LENGTH = 150
    MAX_TEXT_LENGTH = 4000

    subject = models.CharField(max_length=MAX_SUBJECT_LENGTH)
    text = models.CharField(max_length=MAX_TEXT_LENGTH)
    crates = models.PositiveIntegerField(help_text="How many were chosen.")
    recipients = models.PositiveIntegerField(help_text="Owners with an address that mails may go to.")
    sent_by = models.ForeignKey(User, null=True, editable=False, on_delete=models.SET_NULL, related_name="+")
    sent_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ("-sent_at", "-pk")

    def __str__(self) -> str:
        return self.subject

"""Shapes of crates.io's read API: serializers that write the answers and describe them, for crates and mirror."""

from typing import Any

from rest_framework import serializers

from registry_site.http.shapes import Shape


class OptionalText(serializers.CharField):
    """A text that is shown as null if it is empty."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"allow_null": True, **options})

    def to_representation(self, value: str) -> Any:
        return value or None


class ApiPath(serializers.CharField):
    """A path of the API, made of the fields of a record."""

    def __init__(self, template: str) -> None:
        super().__init__(source="*", read_only=True)
        self.template = template

    def to_representation(self, record: Any) -> str:
        return self.template.format(record=record)


# --- People -------------------------------------------------------------------------------------------------------


class UserShape(Shape):
    """A user, without the e-mail address."""

    id = serializers.IntegerField(source="pk")
    login = serializers.CharField()
    name = OptionalText(source="username")
    avatar = OptionalText(source="avatar_uri")
    url = serializers.CharField(source="page_url")


class OwnerShape(UserShape):
    """An owner of a crate. There are no teams."""

    kind = serializers.CharField(default="user")
    url = serializers.CharField(source="page_url", allow_null=True)


class AccountShape(UserShape):
    """The account of the one who asks."""

    email = OptionalText()
    email_verified = serializers.BooleanField(source="has_verified_email")
    email_verification_sent = serializers.BooleanField(source="has_verification_mail")
    is_admin = serializers.BooleanField(source="is_superuser")
    publish_notifications = serializers.BooleanField(default=False)
    created_at = serializers.DateTimeField(source="date_joined")


class UserAnswer(Shape):
    user = UserShape()


class UserStatsAnswer(Shape):
    total_downloads = serializers.IntegerField()


class OwnerUsersAnswer(Shape):
    users = OwnerShape(many=True)


class OwnerTeamsAnswer(Shape):
    teams = OwnerShape(many=True)


class AccountAnswer(Shape):
    class OwnedCrate(Shape):
        id = serializers.IntegerField(source="pk")
        name = serializers.CharField()
        email_notifications = serializers.BooleanField(default=False)

    user = AccountShape()
    owned_crates = OwnedCrate(many=True)


class FollowingAnswer(Shape):
    following = serializers.BooleanField()


class EmptyAnswer(Shape):
    """An object without fields."""


class AuditActionShape(Shape):
    action = serializers.ChoiceField(choices=["publish", "yank", "unyank"])
    user = UserShape()
    time = serializers.DateTimeField()


# --- Keywords and categories --------------------------------------------------------------------------------------


class KeywordShape(Shape):
    id = serializers.CharField(source="word")
    keyword = serializers.CharField(source="word")
    created_at = serializers.DateTimeField()
    crates_cnt = serializers.IntegerField(source="crate_count")


class CategoryShape(Shape):
    id = serializers.CharField(source="slug")
    slug = serializers.CharField()
    category = serializers.CharField(source="short_name")
    description = serializers.CharField()
    created_at = serializers.DateTimeField()
    crates_cnt = serializers.IntegerField(source="crate_count")


class CategoryDetailShape(Shape):
    """A category with those around it, from a `CategoryFamily`."""

    id = serializers.CharField(source="category.slug")
    slug = serializers.CharField(source="category.slug")
    category = serializers.CharField(source="category.short_name")
    description = serializers.CharField(source="category.description")
    created_at = serializers.DateTimeField(source="category.created_at")
    crates_cnt = serializers.IntegerField(source="category.crate_count")
    subcategories = CategoryShape(many=True)
    parent_categories = CategoryShape(many=True)


# --- Crates and versions ------------------------------------------------------------------------------------------


class CrateShape(Shape):
    """A crate, from a `CrateRecord`."""

    class CrateLinks(Shape):
        version_downloads = ApiPath("{record.api_root}/crates/{record.name}/downloads")
        versions = serializers.SerializerMethodField(allow_null=True)
        owners = ApiPath("{record.api_root}/crates/{record.name}/owners")
        owner_team = ApiPath("{record.api_root}/crates/{record.name}/owner_team")
        owner_user = ApiPath("{record.api_root}/crates/{record.name}/owner_user")
        reverse_dependencies = ApiPath("{record.api_root}/crates/{record.name}/reverse_dependencies")

        def get_versions(self, record: Any) -> str | None:
            """Return the way to the versions, if they are not in the same answer."""
            return f"{record.api_root}/crates/{record.name}/versions" if record.versions is None else None

    id = serializers.CharField(source="name")
    name = serializers.CharField()
    updated_at = serializers.DateTimeField()
    created_at = serializers.DateTimeField()
    versions = serializers.ListField(child=serializers.IntegerField(), allow_null=True)
    keywords = serializers.ListField(child=serializers.CharField(), allow_null=True)
    categories = serializers.ListField(child=serializers.CharField(), allow_null=True)
    badges = serializers.ListField(child=serializers.CharField())
    downloads = serializers.IntegerField()
    recent_downloads = serializers.IntegerField(allow_null=True)
    default_version = serializers.CharField(allow_null=True)
    num_versions = serializers.IntegerField()
    yanked = serializers.BooleanField()
    max_version = serializers.CharField()
    newest_version = serializers.CharField()
    max_stable_version = serializers.CharField(allow_null=True)
    description = OptionalText()
    homepage = OptionalText()
    documentation = OptionalText()
    repository = OptionalText()
    links = CrateLinks(source="*")
    exact_match = serializers.BooleanField()
    trustpub_only = serializers.BooleanField()


class LineCounts(Shape):
    class LanguageLines(Shape):
        code_lines = serializers.IntegerField()
        comment_lines = serializers.IntegerField()
        files = serializers.IntegerField()

    languages = serializers.DictField(child=LanguageLines())
    total_code_lines = serializers.IntegerField()
    total_comment_lines = serializers.IntegerField()


class VersionShape(Shape):
    """A version, from a `VersionRecord`."""

    class VersionLinks(Shape):
        dependencies = ApiPath("{record.api_root}/crates/{record.crate}/{record.num}/dependencies")
        version_downloads = ApiPath("{record.api_root}/crates/{record.crate}/{record.num}/downloads")
        authors = ApiPath("{record.api_root}/crates/{record.crate}/{record.num}/authors")

    id = serializers.IntegerField()
    crate = serializers.CharField()
    num = serializers.CharField()
    dl_path = ApiPath("{record.api_root}/crates/{record.crate}/{record.num}/download")
    readme_path = ApiPath("{record.api_root}/crates/{record.crate}/{record.num}/readme")
    updated_at = serializers.DateTimeField()
    created_at = serializers.DateTimeField()
    downloads = serializers.IntegerField()
    features = serializers.DictField(child=serializers.ListField(child=serializers.CharField()))
    yanked = serializers.BooleanField()
    yank_message = OptionalText()
    lib_links = OptionalText()
    license = OptionalText()
    links = VersionLinks(source="*")
    crate_size = serializers.IntegerField(allow_null=True)
    published_by = UserShape(allow_null=True)
    audit_actions = AuditActionShape(many=True)
    checksum = serializers.CharField()
    rust_version = OptionalText()
    has_lib = serializers.BooleanField(allow_null=True)
    bin_names = serializers.ListField(child=serializers.CharField(), allow_null=True)
    edition = OptionalText()
    description = OptionalText()
    homepage = OptionalText()
    documentation = OptionalText()
    repository = OptionalText()
    trustpub_data = serializers.DictField(allow_null=True)
    linecounts = LineCounts(allow_null=True)


class DependencyShape(Shape):
    """A dependency, from a `DependencyRecord`."""

    id = serializers.IntegerField()
    version_id = serializers.IntegerField()
    crate_id = serializers.CharField()
    req = serializers.CharField()
    optional = serializers.BooleanField()
    default_features = serializers.BooleanField()
    features = serializers.ListField(child=serializers.CharField())
    target = OptionalText()
    kind = serializers.ChoiceField(choices=["normal", "build", "dev"])
    downloads = serializers.IntegerField()


# --- Answers ------------------------------------------------------------------------------------------------------


class CrateAnswer(Shape):
    """A crate with the requested parts, from `CrateDetails`."""

    crate = CrateShape()
    versions = VersionShape(many=True, allow_null=True)
    keywords = KeywordShape(many=True, allow_null=True)
    categories = CategoryShape(many=True, allow_null=True)


class VersionAnswer(Shape):
    version = VersionShape()


class VersionListAnswer(Shape):
    class VersionListMeta(Shape):
        class ReleaseTrack(Shape):
            highest = serializers.CharField(source="*")

        total = serializers.IntegerField()
        next_page = serializers.CharField(allow_null=True)
        release_tracks = serializers.DictField(child=ReleaseTrack(), required=False)

    versions = VersionShape(many=True)
    meta = VersionListMeta()


class DependenciesAnswer(Shape):
    dependencies = DependencyShape(many=True)


class ListMeta(Shape):
    total = serializers.IntegerField()


class CrateListAnswer(Shape):
    class CrateListMeta(ListMeta):
        next_page = serializers.CharField(allow_null=True)
        prev_page = serializers.CharField(allow_null=True)

    crates = CrateShape(many=True)
    meta = CrateListMeta()


class DependentsAnswer(DependenciesAnswer):
    versions = VersionShape(many=True)
    meta = ListMeta()


class VersionDayShape(Shape):
    """The downloads of a version on a day."""

    version = serializers.IntegerField()
    downloads = serializers.IntegerField()
    date = serializers.DateField()


class VersionDownloadsAnswer(Shape):
    version_downloads = VersionDayShape(many=True)


class CrateDownloadsAnswer(VersionDownloadsAnswer):
    class CrateDownloadsMeta(Shape):
        class DayShape(Shape):
            downloads = serializers.IntegerField()
            date = serializers.DateField()

        extra_downloads = DayShape(many=True)

    meta = CrateDownloadsMeta()


class KeywordAnswer(Shape):
    keyword = KeywordShape()


class KeywordListAnswer(Shape):
    keywords = KeywordShape(many=True)
    meta = ListMeta()


class CategoryAnswer(Shape):
    category = CategoryDetailShape()


class CategoryListAnswer(Shape):
    categories = CategoryShape(many=True)
    meta = ListMeta()


class CategorySlugsAnswer(Shape):
    class CategorySlug(Shape):
        id = serializers.CharField(source="slug")
        slug = serializers.CharField()
        description = serializers.CharField()

    category_slugs = CategorySlug(many=True)


class AuthorsAnswer(Shape):
    """The authors, whom crates.io lists no longer."""

    class AuthorNames(Shape):
        names = serializers.ListField(child=serializers.CharField())

    users = UserShape(many=True)
    meta = AuthorNames()


class AddressAnswer(Shape):
    url = serializers.CharField()


class UpdatesAnswer(Shape):
    class UpdatesMeta(Shape):
        more = serializers.BooleanField()

    versions = VersionShape(many=True)
    meta = UpdatesMeta()


class SummaryShape(Shape):
    num_crates = serializers.IntegerField()
    num_downloads = serializers.IntegerField()
    new_crates = CrateShape(many=True)
    just_updated = CrateShape(many=True)
    most_downloaded = CrateShape(many=True)
    most_recently_downloaded = CrateShape(many=True)
    popular_keywords = KeywordShape(many=True)
    popular_categories = CategoryShape(many=True)


class SiteMetadataShape(Shape):
    deployed_sha = serializers.CharField()
    commit = serializers.CharField()
    read_only = serializers.BooleanField()  # type: ignore[assignment]  # hides the serializer's own

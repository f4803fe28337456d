"""Names and releases that exist: their new forms, and the newest release where versions are any texts now."""

from itertools import islice

from django.db import migrations
from django.db.models import F

# The ecosystems with SemVer, as they were at this migration.
SEMANTIC = frozenset(
    (
        *("cargo", "crates.io", "dart", "elixir", "helm", "hex", "javascript", "js", "jsr", "node", "node.js"),
        *("nodejs", "npm", "pub", "rust", "swift", "terraform", "typescript"),
    )
)
BATCH_SIZE = 500


def convert(apps, schema_editor):
    """Derive the new columns.

    Names that exist have no look-alikes of Latin letters, so both of their forms are the same.
    """
    Package, Release = apps.get_model("packages", "Package"), apps.get_model("packages", "Release")
    Package.objects.update(skeleton=F("canonical_name"))
    fields = Package.objects.order_by().values_list("field", flat=True).distinct()
    free = [field for field in fields if field.strip().casefold() not in SEMANTIC]
    for number in range(0, len(free), BATCH_SIZE):
        packages = Package.objects.filter(field__in=free[number : number + BATCH_SIZE])
        Release.objects.filter(package__in=packages).update(canonical_version=F("version"))
        convert_order(packages.select_related("namespace").order_by("pk"), Release)


def convert_order(packages, Release):
    """Set the newest release of each package to the last one, and what search knows of it."""
    rows = packages.iterator(BATCH_SIZE)
    while batch := list(islice(rows, BATCH_SIZE)):
        last = {}
        releases = Release.objects.filter(package__in=[package.pk for package in batch])
        for release in releases.order_by("published_at", "pk").defer("files", "dependencies", "dev_dependencies"):
            last[release.package_id] = release
        changed = [package for package in batch if package.newest_id != getattr(last.get(package.pk), "pk", None)]
        for package in changed:
            package.newest = last.get(package.pk)
            if package.search_text:
                package.search_text = searchable(package)
        Package = packages.model
        Package.objects.bulk_update(changed, ["newest", "search_text"])


def searchable(package):
    from packages.search import tokenize

    texts = [package.namespace.name, package.name, package.field, package.newest.description, *package.newest.keywords]
    return " ".join(tokenize(" ".join(texts)))


class Migration(migrations.Migration):
    dependencies = [("packages", "0007_names_and_versions")]

    operations = [migrations.RunPython(convert, migrations.RunPython.noop)]

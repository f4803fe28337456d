from itertools import groupby

from django.db import migrations
from django.db.models import Count, IntegerField, OuterRef, Subquery
from django.db.models.functions import Coalesce

from registry_site import semantic_versions

BATCH_SIZE = 200  # crates, and rows of one insert


def fill(apps, schema_editor):
    """Fill the fields and rows that follow from versions; a .crate file tells the rest, by `refreshcrates`."""
    crates = apps.get_model("crates", "Crate").objects
    last = 0
    while batch := list(crates.filter(pk__gt=last).order_by("pk").defer("index_text", "search_text")[:BATCH_SIZE]):
        last = batch[-1].pk
        fill_crates(apps, batch)
    for model, relation in (("Keyword", "keywords"), ("Category", "categories")):
        rows = apps.get_model("crates", "Crate")._meta.get_field(relation).remote_field.through.objects
        counts = rows.filter(**{model.lower(): OuterRef("pk")}).order_by().values(model.lower())
        total = Subquery(counts.annotate(total=Count("pk")).values("total"), output_field=IntegerField())
        apps.get_model("crates", model).objects.update(crate_count=Coalesce(total, 0))


def fill_crates(apps, crates):
    versions = apps.get_model("crates", "Version").objects
    defaults, keywords, categories = set(), {}, {}
    columns = ("crate_id", "pk", "number", "yanked", "published_at", "keywords", "categories")
    rows = versions.filter(crate__in=crates).order_by("crate_id").values_list(*columns, named=True)
    by_crate = {crate_id: list(group) for crate_id, group in groupby(rows.iterator(), lambda row: row.crate_id)}
    for crate in crates:
        candidates = by_crate.get(crate.pk, [])
        usable = [row for row in candidates if not row.yanked]
        default = max(candidates, key=preference, default=None)
        newest = max(usable, key=lambda row: (row.published_at, row.pk), default=None)
        crate.default_version_id = default and default.pk
        crate.newest_version_id = newest and newest.pk
        crate.version_count = len(candidates)
        crate.updated_at = crate.index_modified
        if default:
            defaults.add(default.pk)
            keywords[crate.pk] = {word.strip().lower() for word in default.keywords} - {""}
            categories[crate.pk] = {slug.lower() for slug in default.categories}
    fields = ["default_version", "newest_version", "version_count", "updated_at"]
    apps.get_model("crates", "Crate").objects.bulk_update(crates, fields)
    relate(apps, "Keyword", "word", "keywords", keywords)
    relate(apps, "Category", "slug", "categories", categories)
    store_dependencies(apps, versions.filter(crate__in=crates), defaults)


def preference(row):
    number = semantic_versions.parse(row.number)
    return not row.yanked, number.prerelease is None, number


def relate(apps, model_name, key, relation, values_by_crate):
    model = apps.get_model("crates", model_name)
    values = sorted(set().union(*values_by_crate.values()))
    model.objects.bulk_create(
        [model(**{key: value}, **({"name": category_name(value)} if key == "slug" else {})) for value in values],
        batch_size=BATCH_SIZE,
        ignore_conflicts=True,
    )
    keys = dict(model.objects.filter(**{f"{key}__in": values}).order_by().values_list(key, "pk"))
    through = apps.get_model("crates", "Crate")._meta.get_field(relation).remote_field.through
    through.objects.bulk_create(
        [
            through(crate_id=crate_id, **{f"{model_name.lower()}_id": keys[value]})
            for crate_id, chosen in values_by_crate.items()
            for value in sorted(chosen)
        ],
        batch_size=BATCH_SIZE,
    )


def category_name(slug):
    return "::".join(part.replace("-", " ").capitalize() for part in slug.split("::"))


def store_dependencies(apps, versions, defaults):
    model, rows = apps.get_model("crates", "Dependency"), []
    for version in versions.order_by("pk").only("dependencies").iterator(chunk_size=BATCH_SIZE):
        rows += [
            dependency(model, version.pk, position, entry, version.pk in defaults)
            for position, entry in enumerate(version.dependencies)
        ]
        if len(rows) >= BATCH_SIZE:
            model.objects.bulk_create(rows, batch_size=BATCH_SIZE)
            rows = []
    model.objects.bulk_create(rows, batch_size=BATCH_SIZE)


def dependency(model, version_id, position, entry, is_current):
    name = entry.get("package") or entry["name"]
    return model(
        version_id=version_id,
        position=position,
        name=name,
        canonical_name=name.lower().replace("-", "_"),
        explicit_name=entry["name"] if entry.get("package") else "",
        registry=entry.get("registry") or "",
        requirement=entry["req"],
        kind=entry.get("kind") or "normal",
        is_optional=entry["optional"],
        default_features=entry["default_features"],
        is_current=is_current,
        features=entry["features"],
        target=entry.get("target") or "",
    )


class Migration(migrations.Migration):
    dependencies = [("crates", "0005_facts")]

    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]

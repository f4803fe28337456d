from django.db import migrations

from registry_site.search import spelling
from registry_site.search.words import tokenize

BATCH_SIZE = 200
MAX_SUMMARY_WORDS = 3000


def fill(apps, schema_editor):
    """Store the words of all crates; those of READMEs follow with `refreshcrates`."""
    crates = apps.get_model("crates", "Crate").objects.exclude(max_version=None).exclude(default_version=None)
    columns = ("pk", "name", "default_version__description", "default_version__keywords", "default_version__categories")
    last = 0
    while batch := list(
        crates.filter(pk__gt=last).order_by("pk").values_list("default_version", *columns)[:BATCH_SIZE]
    ):
        last = batch[-1][1]
        rows = [words(apps.get_model("crates", "CrateWords"), *row) for row in batch]
        apps.get_model("crates", "CrateWords").objects.bulk_create(rows)


def words(model, version_id, crate_id, name, description, keywords, categories):
    summary = " ".join(tokenize(" ".join([name, description, *keywords, *categories]))[:MAX_SUMMARY_WORDS])
    return model(
        crate_id=crate_id,
        version_id=version_id,
        name_words=" ".join(dict.fromkeys([spelling.joined(name), *tokenize(name)])),
        summary_words=summary,
        text_words=summary,
        spelling=" ".join(spelling.spelling_words(name)),
    )


class Migration(migrations.Migration):
    dependencies = [("crates", "0008_words")]

    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]

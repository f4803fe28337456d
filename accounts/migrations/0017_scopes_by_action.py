from collections import defaultdict

from django.db import migrations

NEW_NAMES = {"publish": ("publish-new", "publish-update"), "owners": ("change-owners",)}
FORMER_NAMES = {"publish-update": "publish", "change-owners": "owners"}
UNBOUND = {"read"}  # what crate patterns do not limit
BATCH_SIZE = 500


def rename(apps, schema_editor):
    update_scopes(apps, lambda scopes, patterns: [new for old in scopes for new in NEW_NAMES.get(old, (old,))])


def restore(apps, schema_editor):
    update_scopes(apps, former_scopes)


def former_scopes(scopes, patterns):
    """Return the scopes by their former names. A token never comes to allow more, so what these cannot say is lost."""
    if patterns:
        return [scope for scope in scopes if scope in UNBOUND]
    lost = {"publish-new", "publish-update"} - set(scopes)
    former = [FORMER_NAMES.get(scope, scope) for scope in scopes if scope != "publish-new"]
    return [scope for scope in former if scope != "publish" or not lost]


def update_scopes(apps, scopes_of):
    credentials = apps.get_model("accounts", "Credential").objects
    keys = defaultdict(list)
    for pk, scopes, patterns in credentials.values_list("pk", "scopes", "crate_patterns").order_by("pk").iterator():
        changed = scopes_of(scopes, patterns)
        if changed != scopes:
            keys[tuple(changed)].append(pk)
    for scopes, pks in keys.items():
        for start in range(0, len(pks), BATCH_SIZE):
            credentials.filter(pk__in=pks[start : start + BATCH_SIZE]).update(scopes=list(scopes))


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0016_token_limits"),
    ]

    operations = [migrations.RunPython(rename, restore)]

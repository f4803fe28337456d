from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("mirror", "0003_cached_files_and_overrides")]

    operations = [
        # An index does not follow the new name of its field.
        migrations.RemoveIndex("cachedcrate", "archives_by_use"),
        migrations.RenameField("cachedcrate", "asked_at", "last_used_at"),
        migrations.AddIndex("cachedcrate", models.Index(fields=["last_used_at"], name="cached_crates_by_use")),
        migrations.RenameField("override", "verdict", "kind"),
        migrations.RenameIndex("override", "overrides_not_ended", "decisions_not_ended"),
        migrations.RemoveConstraint("cachedcrate", "each_archive_once"),
        migrations.AddConstraint(
            "cachedcrate",
            models.UniqueConstraint(fields=("name", "version", "sha256"), name="each_cached_crate_once"),
        ),
    ]

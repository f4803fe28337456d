import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

from registry_site.sqlite.columns import AddColumn, PutLast


class Migration(migrations.Migration):
    dependencies = [
        ("crates", "0004_large_columns_last"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RenameField(model_name="crate", old_name="newest", new_name="max_version"),
        migrations.AddField(
            model_name="crate",
            name="default_version",
            field=models.ForeignKey(
                editable=False,
                help_text="The version that describes the crate: not yanked before yanked, stable before pre-release, highest.",
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to="crates.version",
            ),
        ),
        migrations.AlterField(
            model_name="crate",
            name="max_version",
            field=models.ForeignKey(
                editable=False,
                help_text="The highest version that is not yanked.",
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to="crates.version",
            ),
        ),
        migrations.AddField(
            model_name="crate",
            name="newest_version",
            field=models.ForeignKey(
                editable=False,
                help_text="The last published version that is not yanked.",
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to="crates.version",
            ),
        ),
        AddColumn(
            model_name="crate",
            name="updated_at",
            field=models.DateTimeField(default=django.utils.timezone.now, editable=False),
        ),
        AddColumn(
            model_name="crate",
            name="version_count",
            field=models.PositiveIntegerField(default=0, editable=False),
        ),
        migrations.AddField(
            model_name="version",
            name="binary_names",
            field=models.JSONField(null=True),
        ),
        AddColumn(
            model_name="version",
            name="edition",
            field=models.CharField(blank=True, max_length=16),
        ),
        AddColumn(
            model_name="version",
            name="examined",
            field=models.PositiveSmallIntegerField(
                default=0,
                editable=False,
                help_text="Revision of the rules by which the .crate file was read; 0 for never.",
            ),
        ),
        migrations.AddField(
            model_name="version",
            name="file_count",
            field=models.PositiveIntegerField(null=True),
        ),
        migrations.AddField(
            model_name="version",
            name="has_build_script",
            field=models.BooleanField(null=True),
        ),
        migrations.AddField(
            model_name="version",
            name="has_library",
            field=models.BooleanField(null=True),
        ),
        migrations.AddField(
            model_name="version",
            name="is_proc_macro",
            field=models.BooleanField(null=True),
        ),
        AddColumn(
            model_name="version",
            name="library_name",
            field=models.CharField(blank=True, max_length=255),
        ),
        AddColumn(
            model_name="version",
            name="license_expression",
            field=models.CharField(blank=True, help_text="The license as SPDX writes it.", max_length=255),
        ),
        AddColumn(
            model_name="version",
            name="license_file",
            field=models.CharField(blank=True, help_text="Its path in the .crate file.", max_length=255),
        ),
        migrations.AddField(
            model_name="version",
            name="line_counts",
            field=models.JSONField(help_text="Lines of code and comments, and files, by language.", null=True),
        ),
        migrations.AddField(
            model_name="version",
            name="unpacked_size",
            field=models.PositiveBigIntegerField(help_text="Bytes of the unpacked .crate file.", null=True),
        ),
        AddColumn(
            model_name="version",
            name="vcs_commit",
            field=models.CharField(blank=True, max_length=64),
        ),
        AddColumn(
            model_name="version",
            name="yank_message",
            field=models.CharField(blank=True, max_length=1000),
        ),
        migrations.AddField(
            model_name="version",
            name="yanked_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.CreateModel(
            name="Category",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("slug", models.CharField(max_length=64)),
                ("name", models.CharField(max_length=128)),
                ("description", models.CharField(blank=True, max_length=500)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("crate_count", models.PositiveIntegerField(default=0, editable=False)),
            ],
            options={
                "verbose_name_plural": "categories",
                "ordering": ("slug",),
                "indexes": [
                    models.Index(
                        models.OrderBy(models.F("crate_count"), descending=True),
                        models.F("slug"),
                        name="categories_by_crate_count",
                    )
                ],
                "constraints": [models.UniqueConstraint(fields=("slug",), name="each_category_once")],
            },
        ),
        migrations.AddField(
            model_name="crate",
            name="categories",
            field=models.ManyToManyField(editable=False, related_name="crates", to="crates.category"),
        ),
        migrations.CreateModel(
            name="Dependency",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "version",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="dependency_rows",
                        to="crates.version",
                    ),
                ),
                ("position", models.PositiveSmallIntegerField(help_text="In the index line, from 0.")),
                ("name", models.CharField(help_text="The crate's own name.", max_length=64)),
                ("canonical_name", models.CharField(max_length=64)),
                (
                    "explicit_name",
                    models.CharField(blank=True, help_text="The name in the manifest if it differs.", max_length=64),
                ),
                (
                    "registry",
                    models.CharField(blank=True, help_text="Index URL; empty for this registry.", max_length=2000),
                ),
                ("requirement", models.CharField(max_length=512)),
                (
                    "kind",
                    models.CharField(choices=[("normal", "Normal"), ("build", "Build"), ("dev", "Dev")], max_length=8),
                ),
                ("is_optional", models.BooleanField(default=False)),
                ("default_features", models.BooleanField(default=True)),
                (
                    "is_current",
                    models.BooleanField(
                        default=False, help_text="Whether its version is the default one of its crate."
                    ),
                ),
                ("features", models.JSONField(default=list)),
                ("target", models.TextField(blank=True)),
            ],
            options={
                "verbose_name_plural": "dependencies",
                "ordering": ("version", "position"),
            },
        ),
        migrations.CreateModel(
            name="Keyword",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("word", models.CharField(help_text="In lower case.", max_length=128)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("crate_count", models.PositiveIntegerField(default=0, editable=False)),
            ],
            options={
                "ordering": ("word",),
                "indexes": [
                    models.Index(
                        models.OrderBy(models.F("crate_count"), descending=True),
                        models.F("word"),
                        name="keywords_by_crate_count",
                    )
                ],
                "constraints": [models.UniqueConstraint(fields=("word",), name="each_keyword_once")],
            },
        ),
        migrations.AddField(
            model_name="crate",
            name="keywords",
            field=models.ManyToManyField(editable=False, related_name="crates", to="crates.keyword"),
        ),
        migrations.AddIndex(
            model_name="crate",
            index=models.Index(fields=["updated_at", "id"], name="crates_by_time_of_change"),
        ),
        migrations.AddIndex(
            model_name="crate",
            index=models.Index(fields=["created_at", "id"], name="crates_by_time_of_creation"),
        ),
        migrations.AddIndex(
            model_name="dependency",
            index=models.Index(
                condition=models.Q(("is_current", True)),
                fields=["canonical_name", "registry", "version"],
                name="current_dependents",
            ),
        ),
        migrations.AddConstraint(
            model_name="dependency",
            constraint=models.UniqueConstraint(fields=("version", "position"), name="each_dependency_at_one_position"),
        ),
        migrations.CreateModel(
            name="VersionContents",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "version",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE, related_name="contents", to="crates.version"
                    ),
                ),
                ("readme_path", models.CharField(blank=True, max_length=255)),
                (
                    "files",
                    models.JSONField(
                        default=list, help_text="Path, size, and offset in the unpacked tar, of each file."
                    ),
                ),
                ("docs_rs", models.JSONField(help_text="[package.metadata.docs.rs] as it is.", null=True)),
                ("license_text", models.TextField(blank=True)),
                ("readme_text", models.TextField(blank=True)),
                ("readme_html", models.TextField(blank=True)),
            ],
            options={
                "verbose_name_plural": "version contents",
            },
        ),
        PutLast("crate", ["search_text", "index_text"]),
        PutLast("version", ["dependencies", "features", "links", "license"]),
    ]

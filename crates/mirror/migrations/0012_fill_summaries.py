from django.db import migrations

from registry_site.search.index import CreateWordIndex


class Migration(migrations.Migration):
    """The index of the words of names; 0015 fills the table."""

    dependencies = [("mirror", "0011_facts")]

    operations = [
        CreateWordIndex("indexsummary", "name_words"),
    ]

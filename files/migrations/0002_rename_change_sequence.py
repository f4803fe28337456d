from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("files", "0001_initial")]

    operations = [
        migrations.RenameModel("Clock", "ChangeSequence"),
        migrations.RenameModel("Challenge", "AnsweredChallenge"),
    ]

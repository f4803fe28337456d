from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0014_fill_name_skeletons")]

    operations = [
        migrations.AddConstraint(
            model_name="namereservation",
            constraint=models.UniqueConstraint(
                condition=models.Q(("is_look_alike", False)), fields=("skeleton",), name="each_look_of_a_name_once"
            ),
        ),
    ]

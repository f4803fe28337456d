from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("accounts", "0008_move_audit_events")]

    operations = [migrations.DeleteModel("AuditEvent")]

from typing import Any

import gateway_project.lib.secrets.secrets_at_rest
from django.db import migrations


def forget_answers(apps: Any, schema_editor: Any) -> None:
    # Encrypted with a key of another kind; they are kept for a day at most.
    apps.get_model("accounts", "IdempotentRequest").objects.all().delete()


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0017_playground'),
    ]

    operations = [
        migrations.RunPython(forget_answers, migrations.RunPython.noop),
        migrations.AlterField(
            model_name='idempotentrequest',
            name='answer',
            field=gateway_project.lib.secrets.secrets_at_rest.SecretField(null=True, verbose_name='answer'),
        ),
    ]

from typing import Any

from django.db import migrations

TABLES = {"accounts_usage": "request_id", "accounts_usagehour": "digest", "accounts_usagetotal": "digest"}


def drop(apps: Any, schema_editor: Any) -> None:
    """PostgreSQL alone has them: Django makes one for each unique text, for LIKE. Nobody looks for these so.

    They were a fifth of all indexes of usage rows, and of what it costs to write one.
    """
    if schema_editor.connection.vendor != "postgresql":
        return
    with schema_editor.connection.cursor() as cursor:
        for table, column in TABLES.items():
            cursor.execute(
                "SELECT indexname FROM pg_indexes WHERE schemaname = current_schema() AND tablename = %s"
                " AND indexname LIKE %s", [table, f"{table}\\_{column}\\_%\\_like"],
            )
            for (name,) in cursor.fetchall():
                cursor.execute(f"DROP INDEX {schema_editor.quote_name(name)}")


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0025_day_columns'),
    ]

    operations = [migrations.RunPython(drop, migrations.RunPython.noop, elidable=True)]

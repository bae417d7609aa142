"""Code of the version before goes on with the tables of the next: what a rolling upgrade needs of migrations."""

from django.db import models
from django.db.migrations import operations
from django.db.migrations.loader import MigrationLoader

from tests.house.tree import PACKAGES

GONE = (operations.RemoveField, operations.RenameField, operations.RenameModel, operations.DeleteModel)
BEFORE_THE_FIRST_RELEASE = {
    ("accounts", "0021_quarantine_and_alerts", "Add field key to keynetwork"),
    ("accounts", "0025_day_columns", "Delete model UsageDay"),
    ("bridge", "0005_native_calls", "Add field native_calls to prompttemplate"),
}
"""Nobody ran the versions that these broke. Nothing is added here: take two releases, or give a field a db_default."""


def breaks(operation):
    """Whether code that knows nothing of it cannot read or write any more."""
    if isinstance(operation, operations.AddField):
        field = operation.field
        filled = field.null or field.many_to_many or field.db_default is not models.NOT_PROVIDED
        return not filled
    return isinstance(operation, GONE)


def test_old_code_works_on_migrated_tables():
    migrations = MigrationLoader(None).disk_migrations
    ours = {key: each for key, each in migrations.items() if key[0] in PACKAGES}
    broken = {(*key, each.describe()) for key, migration in ours.items() for each in migration.operations
              if breaks(each)}  # fmt: skip
    assert len(ours) > 50
    assert broken == BEFORE_THE_FIRST_RELEASE


def test_rule_sees_what_breaks_old_code():
    assert breaks(operations.AddField("key", "note", models.TextField(default="")))
    assert breaks(operations.RenameField("key", "note", "remark"))
    assert not breaks(operations.AddField("key", "note", models.TextField(default="", db_default="")))
    assert not breaks(operations.AddField("key", "note", models.TextField(null=True)))

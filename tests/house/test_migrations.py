"""Code of the version before goes on with the tables of the next: what a rolling upgrade needs of migrations."""

from django.db import models
from django.db.migrations import operations
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ProjectState

from tests.house.tree import PACKAGES

GONE = (operations.RemoveField, operations.RenameField, operations.RenameModel, operations.DeleteModel)
MOVED = (operations.AlterModelTable, operations.RunSQL, operations.SeparateDatabaseAndState)
"""Nobody can tell from these what older code finds."""
STRICTER = (operations.AddConstraint, operations.AlterUniqueTogether)
WIDER = {("CharField", "TextField"), ("IntegerField", "BigIntegerField"),
         ("PositiveIntegerField", "PositiveBigIntegerField")}  # fmt: skip
BEFORE_THE_FIRST_RELEASE = {
    ("accounts", "0025_day_columns", "Delete model UsageDay"),
    ("bridge", "0005_native_calls", "Add field native_calls to prompttemplate"),
}
"""Nobody ran the versions that these broke. Nothing is added here: take two releases, or give a field a db_default."""
HARMLESS = {
    ("accounts", "0017_playground", "Create constraint apikey_one_playground_key on model apikey"):
        "older code leaves playground_user null, and nulls are all different",
    ("accounts", "0021_quarantine_and_alerts", "Create constraint apikey_live_name_of_team on model apikey"):
        "weaker than apikey_live_name, whose place it takes",
    ("accounts", "0021_quarantine_and_alerts", "Create constraint apikey_live_name_of_none on model apikey"):
        "weaker than apikey_live_name, whose place it takes",
    ("accounts", "0022_lasting_alerts", "Create constraint alert_lasting on model alert"):
        "older code writes no alert that lasts",
}  # fmt: skip
"""What the rule takes for a break, and why older code never meets it. An entry says the reason."""


def breaks(operation, before=None):
    """Whether code that knows nothing of it cannot read or write any more; `before` is the field that it alters."""
    if isinstance(operation, operations.AddField):
        return not filled(operation.field)
    if isinstance(operation, operations.AlterField):
        return narrows(before, operation.field)
    return isinstance(operation, GONE + MOVED + STRICTER)


def filled(field):
    """Whether the database has a value for who gives none."""
    return field.null or field.many_to_many or field.db_default is not models.NOT_PROVIDED


def narrows(before, after):
    """Whether it takes less than it took, or lies elsewhere."""
    types = before.get_internal_type(), after.get_internal_type()
    shorter = after.max_length is not None and (before.max_length is None or after.max_length < before.max_length)
    return (
        (filled(before) and not filled(after))
        or (after.unique and not before.unique)
        or (types[0] != types[1] and types not in WIDER)
        or (shorter and types[1] != "TextField")
        or before.db_column != after.db_column
    )


def altered(operation, app, state):
    """The field that it alters, as the state of the models has it."""
    if isinstance(operation, operations.AlterField):
        return state.models[app, operation.model_name_lower].fields[operation.name]
    return None


def broken_by(key, migration, state):
    """The operations of a migration that break older code; brings the state on. New tables are theirs alone."""
    new = set()
    for each in migration.operations:
        model = getattr(each, "model_name_lower", None)
        if key[0] in PACKAGES and model not in new and breaks(each, altered(each, key[0], state)):
            yield each
        if isinstance(each, operations.CreateModel):
            new.add(each.name_lower)
        each.state_forwards(key[0], state)


def in_order(graph):
    """Every migration after those that it needs."""
    return dict.fromkeys(key for leaf in graph.leaf_nodes() for key in graph.forwards_plan(leaf))


def test_old_code_works_on_migrated_tables():
    graph, state = MigrationLoader(None).graph, ProjectState()
    keys = in_order(graph)
    broken = {(*key, each.describe()) for key in keys for each in broken_by(key, graph.nodes[key], state)}
    assert len([key for key in keys if key[0] in PACKAGES]) > 50
    assert broken == BEFORE_THE_FIRST_RELEASE | HARMLESS.keys()


def test_rule_sees_what_breaks_old_code():
    assert breaks(operations.AddField("key", "note", models.TextField(default="")))
    assert breaks(operations.RenameField("key", "note", "remark"))
    assert breaks(operations.AddConstraint("key", models.UniqueConstraint(fields=["note"], name="one")))
    assert breaks(operations.AlterModelTable("key", "keys"))
    assert breaks(operations.RunSQL("DROP TABLE key"))
    assert not breaks(operations.AddField("key", "note", models.TextField(default="", db_default="")))
    assert not breaks(operations.AddField("key", "note", models.TextField(null=True)))


def test_rule_sees_fields_that_take_less():
    def altering(before, after):
        return breaks(operations.AlterField("key", "note", after), before)

    char, text = models.CharField, models.TextField
    assert altering(text(null=True), text())
    assert altering(text(db_default=""), text())
    assert altering(char(max_length=9), char(max_length=8))
    assert altering(text(), char(max_length=8))
    assert altering(char(max_length=9), char(max_length=9, unique=True))
    assert altering(text(), text(db_column="remark"))
    assert altering(models.BigIntegerField(), models.IntegerField())
    assert not altering(char(max_length=8), char(max_length=9, verbose_name="note"))
    assert not altering(char(max_length=8), text())
    assert not altering(text(), text(null=True))

"""All tables of a new database at once, as the migrations would leave them if they were applied one after the other.

That took most of a first start: each of them has the models made anew, and on SQLite many have whole tables copied.
"""

from __future__ import annotations

from typing import Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.migration import Migration
from django.db.migrations.operations import RunPython

IN_THE_MODELS: Final = ("django.db.migrations.operations.models", "django.db.migrations.operations.fields")
"""Whatever these operations do to the database is in the models that the last migration leaves."""


def create(connection: BaseDatabaseWrapper) -> int:
    """How many migrations the tables stand for; 0: they have to be applied in the usual way, and nothing was done.

    What a migration runs, it runs on the tables of the last one. Either all of it is done in the end, or nothing.
    """
    executor = MigrationExecutor(connection)
    if executor.loader.applied_migrations:
        return 0
    plan = [migration for migration, _ in executor.migration_plan(executor.loader.graph.leaf_nodes())]
    if not all(_is_known(operation) for migration in plan for operation in migration.operations):
        return 0
    state = executor.loader.project_state()
    models = [model for model in state.apps.get_models() if model._meta.can_migrate(connection)]
    if {model._meta.db_table for model in models} & set(connection.introspection.table_names()):
        return 0
    executor.recorder.ensure_schema()
    with connection.schema_editor() as editor:
        _create(editor, models)
        _run(editor, plan, state)
        _record(executor, plan)
    return len(plan)


def _is_known(operation: Any) -> bool:
    return type(operation) is RunPython or type(operation).__module__ in IN_THE_MODELS


def _create(editor: Any, models: list[Any]) -> None:
    for model in models:
        editor.create_model(model)
    # References and indexes: PostgreSQL does not alter a table after its rows.
    for statement in editor.deferred_sql:
        editor.execute(statement)
    editor.deferred_sql.clear()


def _run(editor: Any, plan: list[Migration], state: Any) -> None:
    for migration in plan:
        for operation in migration.operations:
            if isinstance(operation, RunPython):
                operation.database_forwards(migration.app_label, editor, state, state)


def _record(executor: MigrationExecutor, plan: list[Migration]) -> None:
    for migration in plan:
        for key in migration.replaces or [(migration.app_label, migration.name)]:
            executor.recorder.record_applied(*key)
    executor.check_replacements()

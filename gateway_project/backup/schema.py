"""The tables that a database has by the migrations that were applied to it, and what this code knows of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from django.apps import apps
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader

from gateway_project import new_tables
from gateway_project.backup.errors import BackupError

Key = tuple[str, str]
"""The app and the name of a migration."""
OPTIONAL: Final = {"socialaccount": "OIDC_ISSUER"}
"""Apps that are there only when a setting is."""


def applied() -> list[Key]:
    """The migrations of the database, of apps that are there. Raise BackupError when it is newer than this code."""
    loader = MigrationLoader(connection)
    known = [key for key in loader.applied_migrations if key[0] in loader.migrated_apps]
    require_known(known, "The database is that of a newer version of the gateway", loader)
    return sorted(known)


def is_current() -> bool:
    """Whether all migrations of this code are applied."""
    loader = MigrationLoader(connection)
    return set(loader.graph.nodes) <= set(loader.applied_migrations)


def require_known(keys: Iterable[Key], what: str, loader: MigrationLoader | None = None) -> None:
    """Raise BackupError for a migration that this code does not have."""
    loader = loader or MigrationLoader(None)
    for app, name in keys:
        if app not in loader.migrated_apps and app in OPTIONAL:
            raise BackupError(f"{what[:200]} with log-ins by an identity provider: set {OPTIONAL[app]} first.")
        if (app, name) not in loader.disk_migrations:
            raise BackupError(f"{what[:200]}: this one does not know the migration {app[:50]}.{name[:100]}.")


def models_of(keys: Iterable[Key]) -> list[Any]:
    """The models whose tables these migrations make, many-to-many tables among them, by the names of the tables."""
    loader = MigrationLoader(None)
    there = set(keys) & loader.graph.nodes.keys()
    current = there == loader.graph.nodes.keys()
    registry = apps if current else loader.project_state(leaves(loader, there)).apps
    models = registry.get_models(include_auto_created=True)
    found = {each._meta.db_table: each for each in models if each._meta.managed and not each._meta.proxy}
    return [found[name] for name in sorted(found)]


def leaves(loader: MigrationLoader, there: set[Key]) -> list[Key]:
    """Those that no other one of their app follows."""
    followed = {parent.key for key in there for parent in loader.graph.node_map[key].parents if parent.key[0] == key[0]}
    return sorted(there - followed)


def migrate_to(keys: Iterable[Key]) -> None:
    """Apply these migrations to a database that has none."""
    executor = MigrationExecutor(connection)
    if executor.loader.graph.nodes.keys() <= set(keys) and new_tables.create(connection):
        return
    executor.migrate(leaves(executor.loader, set(keys) & executor.loader.graph.nodes.keys()))

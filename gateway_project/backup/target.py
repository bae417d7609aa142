"""The database that a backup is restored into: as a whole, or not at all.

SQLite gets a new file beside the one that is there, which takes its place in the end. PostgreSQL does everything in one
transaction, the tables included.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from django.core.management import call_command
from django.db import DatabaseError, OperationalError, connection, transaction

from accounts.audit.context import unrecorded
from gateway_project.backup.whole_file import sync_folder
from gateway_project.lib.secrets.private import BESIDE_SQLITE

SOMEBODYS: Final = (
    "auth_user", "accounts_apikey", "accounts_team", "accounts_usage", "accounts_auditentry", "bridge_login",
)  # fmt: skip
"""Tables that only people and turns write to."""
OURS: Final = ("accounts_", "auth_", "account_", "bridge_", "django_", "mfa_", "sessions_store_", "socialaccount_")
"""What our tables begin with: a database may have others' tables too."""
DRAFT: Final = ".restoring"


def is_empty() -> bool:
    """Nobody has used it yet. A damaged one was in use."""
    try:
        return _is_empty()
    except OperationalError:
        raise
    except DatabaseError:
        return False


def _is_empty() -> bool:
    there = set(_tables())
    with connection.cursor() as cursor:
        for name in SOMEBODYS:
            if name in there:
                cursor.execute(f"SELECT 1 FROM {connection.ops.quote_name(name)} LIMIT 1")  # noqa: S608 - names above
                if cursor.fetchone():
                    return False
    return True


@contextmanager
def new_database() -> Iterator[None]:
    """Within it the database has no tables; when the block ends well it is what it was made to be."""
    if connection.vendor == "sqlite":
        with _new_file():
            yield
        return
    with transaction.atomic():
        # Now and not at the end: tables whose rows are still to be looked at cannot be altered.
        _look_at_references("IMMEDIATE")
        _drop()
        yield


def migrate() -> None:
    """To what this code needs; as at a start."""
    with unrecorded():
        call_command("migrate", interactive=False, verbosity=0)


@contextmanager
def unchecked() -> Iterator[None]:
    """Within it rows may refer to rows that are still to come."""
    if connection.vendor == "postgresql":
        _look_at_references("DEFERRED")
        yield
        _look_at_references("IMMEDIATE")
        return
    connection.disable_constraint_checking()
    try:
        yield
        # Those of all tables, as nobody has looked so far.
        connection.check_constraints()
    finally:
        connection.enable_constraint_checking()


def _look_at_references(when: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SET CONSTRAINTS ALL {when}")


def _tables() -> list[str]:
    with connection.cursor() as cursor:
        return [each.name for each in connection.introspection.get_table_list(cursor) if each.type == "t"]


def _drop() -> None:
    quote = connection.ops.quote_name
    names = ", ".join(quote(name) for name in _tables() if name.startswith(OURS))
    if names:
        with connection.cursor() as cursor:
            cursor.execute(f"DROP TABLE {names} CASCADE")


@contextmanager
def _new_file() -> Iterator[None]:
    place = Path(connection.settings_dict["NAME"])
    draft = place.with_name(place.name + DRAFT)
    with suppress(DatabaseError):  # a damaged one makes room all the same
        _settle()
    connection.close()
    _delete(draft)
    connection.settings_dict["NAME"] = str(draft)
    try:
        yield
        # Closed, the file is whole: what was in its WAL is in it.
        _settle()
        _take_place(draft, place)
    finally:
        connection.close()
        connection.settings_dict["NAME"] = str(place)
        _delete(draft)


def _settle() -> None:
    """Have all of the database in its one file, and nobody of us at it."""
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def _take_place(draft: Path, place: Path) -> None:
    opened = os.open(draft, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
    if place.exists():
        shutil.copymode(place, draft)
    # What an ended process left beside the old file would be taken for a part of the new one.
    for end in BESIDE_SQLITE[1:]:
        place.with_name(place.name + end).unlink(missing_ok=True)
    draft.replace(place)
    sync_folder(place.parent)


def _delete(file: Path) -> None:
    for end in BESIDE_SQLITE:
        with suppress(OSError):
            file.with_name(file.name + end).unlink(missing_ok=True)

"""A new database gets its tables at once: they, and what is in them, are as migrations one by one leave them."""

import datetime
import re
import sqlite3
from contextlib import closing

import psycopg
import pytest

from tests.e2e import shell
from tests.e2e.installation import environment
from tests.prepared import manage

ISSUER = {"OIDC_ISSUER": "https://login.example.org", "OIDC_CLIENT_ID": "gateway", "OIDC_CLIENT_SECRET": "x" * 32}
"""With it, all apps are there that may be there."""
ONE_BY_ONE = """
from django.core.management import call_command
from django.core.management.commands.migrate import Command
call_command(Command(), verbosity=0)
"""
AT_ONCE = """
from django.core.management import call_command
call_command("migrate")
"""
REFUSED = """
from django.core.management import call_command
from django.db import connection
from gateway_project import new_tables
with connection.cursor() as cursor:
    cursor.execute("CREATE TABLE accounts_team (ours bool)")
print(new_tables.create(connection))
with connection.cursor() as cursor:
    cursor.execute("DROP TABLE accounts_team")
call_command("migrate", "contenttypes", verbosity=0)
print(new_tables.create(connection))
"""
BROKEN_OFF = """
from django.core.management import call_command
from django.db import OperationalError, connection
with connection.cursor() as cursor:
    cursor.execute("CREATE VIEW bridge_signinpage AS SELECT 1")
try:
    call_command("migrate")
except OperationalError as exc:
    print(exc)
with connection.cursor() as cursor:
    cursor.execute("DROP VIEW bridge_signinpage")
print(connection.introspection.table_names())
call_command("migrate")
"""
COLUMNS = """
SELECT table_name, column_name, column_default, is_nullable, data_type, character_maximum_length, is_identity
FROM information_schema.columns WHERE table_schema = 'public'
"""
CONSTRAINTS = """
SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE connamespace = 'public'::regnamespace
"""
INDEXES = "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"


def migrated(data_dir, code, **settings):
    """What the command says that makes the tables."""
    data_dir.mkdir(exist_ok=True)
    return shell.once(environment(data_dir, **settings), code)


def parts_of(sql):
    """The definitions in a CREATE TABLE. Their order says in which one they came, and nobody asks for them by place."""
    inner, depth, parts = sql[sql.index("(") + 1 : sql.rindex(")")], 0, [""]
    for character in inner:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return sorted(re.sub(r"\s+", " ", part).strip() for part in parts)


def in_sqlite(data_dir):
    with closing(sqlite3.connect(data_dir / "gateway.sqlite3")) as database:
        found = database.execute("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
        return {(kind, name): parts_of(sql) if kind == "table" else sql for kind, name, sql in found}


def rows_in(data_dir):
    """All rows, by the names of their columns, but for the times when they were made."""
    with closing(sqlite3.connect(data_dir / "gateway.sqlite3")) as database:
        database.row_factory = sqlite3.Row
        names = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        rows = {name: [dict(row) for row in database.execute(f'SELECT * FROM "{name}"')] for name in names}
    return {name: sorted(map(timeless, found)) for name, found in rows.items() if name != "sqlite_sequence"}


def timeless(row):
    # Migrations are applied in another order.
    return sorted((name, repr(value)) for name, value in row.items() if not is_time(value) and name != "applied")


def is_time(value):
    try:
        return bool(datetime.datetime.fromisoformat(value))
    except (TypeError, ValueError):
        return False


def in_postgresql(url):
    with psycopg.connect(url) as database:
        return {row for query in (COLUMNS, CONSTRAINTS, INDEXES) for row in database.execute(query)}


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """One by one, and at once."""
    slow, quick = tmp_path_factory.mktemp("slow"), tmp_path_factory.mktemp("quick")
    migrated(slow, ONE_BY_ONE, **ISSUER)
    assert "Made all tables at once" in migrated(quick, AT_ONCE, **ISSUER)
    return slow, quick


def test_tables_of_sqlite_are_the_same(both):
    slow, quick = map(in_sqlite, both)
    assert len(slow) > 100
    assert {name for name in slow.keys() | quick.keys() if slow.get(name) != quick.get(name)} == set()


def test_rows_of_a_new_database_are_the_same(both):
    slow, quick = map(rows_in, both)
    assert len(slow["bridge_modelalias"]) > 10
    assert len(slow["auth_permission"]) > 100
    for rows in (slow, quick):
        rows["django_migrations"] = sorted(row[:1] + row[2:] for row in rows["django_migrations"])
    assert {name for name in slow if slow[name] != quick[name]} == set()


def test_tables_of_postgresql_are_the_same(tmp_path, postgres):
    with psycopg.connect(postgres.url, autocommit=True) as database:
        database.execute("CREATE DATABASE quick")
    quick = postgres.url.removesuffix("postgres") + "quick"
    migrated(tmp_path / "slow", ONE_BY_ONE, DATABASE_URL=postgres.url, **ISSUER)
    assert "Made all tables at once" in migrated(tmp_path / "quick", AT_ONCE, DATABASE_URL=quick, **ISSUER)
    found = in_postgresql(postgres.url)
    assert len(found) > 500
    assert found ^ in_postgresql(quick) == set()


def test_database_with_tables_is_migrated_by_steps(tmp_path):
    assert migrated(tmp_path / "data", REFUSED).split() == ["0", "0"]


def test_tables_are_made_together_or_not(tmp_path):
    said = migrated(tmp_path / "data", BROKEN_OFF).splitlines()
    assert "already" in said[0]
    assert said[1] == "['django_migrations']"
    assert "Made all tables at once" in said[2]
    assert manage("migrate", "--check", env=environment(tmp_path / "data")).returncode == 0

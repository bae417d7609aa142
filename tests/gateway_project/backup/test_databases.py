"""From SQLite to PostgreSQL and back; and from a database of an earlier version."""

import sqlite3
import subprocess
import sys

import pytest

from tests.e2e.installation import ROOT, django, environment
from tests.gateway_project.backup.installations import PASSPHRASE, SEQUENCES, differences, refusal, run, tables

pytestmark = pytest.mark.timeout(600)  # the first of them fills two databases
OLDER = """
from pathlib import Path
from django.core.management import call_command
from gateway_project.backup import schema
for app in ("contenttypes", "auth", "admin", "sessions", "mfa", "account", "django_celery_beat", "sessions_store"):
    call_command("migrate", app, verbosity=0)
call_command("migrate", "accounts", "0021", verbosity=0)
call_command("migrate", "bridge", "0009", verbosity=0)
models = {model._meta.db_table: model for model in schema.models_of(schema.applied())}
team = models["accounts_team"].objects.create(name="of earlier")
models["accounts_apikey"].objects.create(name="old", team_id=team.pk, digest="d" * 64, hint="lgw_old")
"""


@pytest.fixture(scope="module")
def middle(tmp_path_factory, backup, postgres):
    """The installation on PostgreSQL, restored from the backup that was made on SQLite."""
    data_dir = tmp_path_factory.mktemp("middle")
    run(data_dir, "restore", backup[0], DATABASE_URL=postgres.url)
    return data_dir


@pytest.fixture
def calling(middle, postgres):
    """What commands print on PostgreSQL, one after the other in one process."""

    def calling(*commands):
        calls = "\n".join(f"call_command(*{[str(each) for each in command]})" for command in commands)
        code = f"from django.core.management import call_command\n{calls}"
        return django(middle, code, DATABASE_URL=postgres.url, BACKUP_PASSPHRASE=PASSPHRASE).splitlines()

    return calling


def through_a_pipe(data_dir, command, **streams):
    env = environment(data_dir, BACKUP_PASSPHRASE=PASSPHRASE)
    command = [sys.executable, "manage.py", command, "-"]
    return subprocess.run(command, env=env, cwd=ROOT, check=True, timeout=300, **streams)


def test_postgresql_gives_back_what_it_got(tmp_path, filled, middle, calling):
    said = calling(["reconcile_usage"], ["backup", tmp_path / "backup"])
    assert [line.split(" ")[0] for line in said] == ["The", "Backed"]
    with (tmp_path / "backup").open("rb") as file:
        through_a_pipe(tmp_path / "end", "restore", stdin=file, capture_output=True)
    before, after = tables(filled), tables(tmp_path / "end")
    assert differences(before, after) == set()
    assert dict(after[SEQUENCES])["accounts_apikey"] == dict(before[SEQUENCES])["accounts_apikey"]
    with (tmp_path / "again").open("wb") as file:
        written = through_a_pipe(tmp_path / "end", "backup", stdout=file, stderr=subprocess.PIPE)
    assert written.stderr.startswith(b"Backed up ")


def test_postgresql_in_use_is_replaced_on_demand(backup, calling):
    # It would fail if an id were given twice.
    calling(["create_api_key", "new"])
    with pytest.raises(AssertionError, match="This database is in use already"):
        calling(["restore", backup[0]])
    said = calling(["restore", backup[0], "--replace"], ["reconcile_usage"], ["create_api_key", "new"])
    assert said[1].startswith("The ledger adds up")


def test_backup_of_earlier_version_is_brought_up(tmp_path):
    older, newer, path = tmp_path / "older", tmp_path / "newer", tmp_path / "backup"
    django(older, OLDER)
    said = run(older, "backup", path)
    assert "older than the code" in said.stderr
    run(newer, "restore", path)
    after = tables(newer)
    assert [row[1:2] for row in after["accounts_team"]] == [("of earlier",)]
    assert len(after["accounts_apikey"]) == 1
    assert after["bridge_modelalias"] == tables(older)["bridge_modelalias"]
    assert run(newer, "migrate", "--check").returncode == 0


def test_migrations_of_a_later_version_are_refused(tmp_path, filled, backup):
    path = tmp_path / "data"
    run(path, "restore", backup[0])
    with sqlite3.connect(path / "gateway.sqlite3") as database:
        database.execute("INSERT INTO django_migrations (app, name, applied) VALUES ('bridge', '0999_x', '2026-11-29')")
    database.close()
    assert "does not know the migration bridge.0999_x" in refusal(path, "backup", tmp_path / "other")

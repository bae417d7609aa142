"""Installations to back up, and what is in them."""

import contextlib
import json
import sqlite3

from tests.e2e.installation import environment
from tests.prepared import manage

PASSPHRASE = "correct horse battery"
SEQUENCES = "sqlite_sequence"


def run(data_dir, *arguments, code=0, **settings):
    """A command of this installation."""
    settings.setdefault("BACKUP_PASSPHRASE", PASSPHRASE)
    done = manage(*arguments, timeout=280, env=environment(data_dir, **settings))
    assert done.returncode == code, done.stderr
    return done


def refusal(data_dir, *arguments, **settings):
    """The one line with which a command says that it could not."""
    done = run(data_dir, *arguments, code=1, **settings)
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr.removeprefix("CommandError: ").strip()


def tables(data_dir):
    """All rows of all tables, in the form that SQLite has them."""
    with contextlib.closing(sqlite3.connect(data_dir / "gateway.sqlite3")) as database:
        names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: sorted(database.execute(f'SELECT * FROM "{name}"'), key=repr) for name in names}


def differences(before, after):
    """The tables that are not the same, but for what the commands themselves have written to the audit log."""
    before, after = ({name: list(map(_plain, rows)) for name, rows in each.items()} for each in (before, after))
    for each in (before, after):
        each["accounts_auditentry"] = [row for row in each["accounts_auditentry"] if "backup" not in row]
    names = (before.keys() | after.keys()) - {"django_migrations", SEQUENCES}
    return {name for name in names if before.get(name) != after.get(name)}


def _plain(row):
    """JSON of PostgreSQL has its names in an order of its own."""
    return tuple(map(_unordered, row))


def _unordered(value):
    if isinstance(value, str) and value[:1] in "{[":
        with contextlib.suppress(ValueError):
            return json.dumps(json.loads(value), sort_keys=True)
    return value


def everything(data_dir):
    """All files that a restore may change, and what is in them."""
    paths = {path.relative_to(data_dir).as_posix(): path for path in data_dir.rglob("*") if path.is_file()}
    left_out = ("redis/", "supervisor.lock", "static/", "metrics/")
    return {name: path.read_bytes() for name, path in paths.items() if not name.startswith(left_out)}

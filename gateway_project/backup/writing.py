"""Writes a backup: manifest, tables, files, end."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from django.conf import settings
from django.db import connection

from bridge.version import VERSION
from gateway_project.backup import dump, files, schema, variables
from gateway_project.backup.errors import BackupError
from gateway_project.backup.progress import Progress
from gateway_project.backup.records import End, Manifest, Writer
from gateway_project.backup.sealed import Sealer, Writable


class Written(NamedTuple):
    """What is in a backup."""

    tables: int
    rows: int
    logins: int
    programs: int


def write(file: Writable, passphrase: str, *, with_programs: bool) -> Written:
    """Raise BackupError, OSError, or what the database raises."""
    made_at = datetime.now(UTC).isoformat(timespec="seconds")
    writer = Writer(Sealer(file, passphrase, VERSION, made_at))
    data_dir: Path = settings.DATA_DIR
    tables, rows = _write_database(writer, made_at)
    logins = files.write_logins(writer, data_dir)
    programs = files.write_programs(writer, data_dir) if with_programs else 0
    writer.write(End(tables, rows))
    writer.close()
    return Written(tables, rows, logins, programs)


def _write_database(writer: Writer, made_at: str) -> tuple[int, int]:
    progress, tables, count = Progress(), 0, 0
    with dump.snapshot():
        migrations = schema.applied()
        if not migrations:
            raise BackupError("There is nothing to back up: the database has no tables.")
        writer.write(_manifest(made_at, migrations))
        for model in schema.models_of(migrations):
            table = dump.table(model)
            writer.write(table)
            tables += 1
            for row in dump.rows(table):
                writer.write(row)
                count += 1
                progress.step(f"rows, {table.name}", count)
    progress.end()
    return tables, count


def _manifest(made_at: str, migrations: list[schema.Key]) -> Manifest:
    return Manifest(
        gateway=VERSION,
        made_at=made_at,
        database=connection.vendor,
        migrations=migrations,
        secret_key=settings.SECRET_KEY,
        secret_keys=list(settings.SECRET_KEYS),
        key_pepper=settings.KEY_PEPPER.decode(),
        settings=variables.that_move(),
    )

"""`backup FILE` writes all that this gateway consists of into one encrypted file, while it runs."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any, Final

import redis
from django.conf import settings
from django.core.management.base import CommandError, CommandParser
from django.db import Error

from accounts.audit.commands import RecordedCommand
from accounts.audit.entries import record
from accounts.audit.watched import CREATED
from accounts.content import filing as contents
from accounts.ledger import filing
from gateway_project.backup import passphrase, redis_at_hand, schema
from gateway_project.backup.errors import BackupError
from gateway_project.backup.whole_file import whole_file
from gateway_project.backup.writing import Written, write
from gateway_project.lib.counted import counted
from gateway_project.lib.redis.redis_client import connect

WORKER_SEC: Final = 30.0
"""How long the worker may take to file what waits; it does so every two seconds."""


class Command(RecordedCommand):
    """Not in it: sessions at Lingma, stored Responses, programs of Lingma unless they are asked for."""

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", help="where it goes, a new file; - for standard output")
        parser.add_argument("--force", action="store_true", help="replace a file that is there")
        parser.add_argument("--with-versions", action="store_true", help="the installed versions of Lingma too")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            secret = passphrase.to_seal(settings.ENV)
            if options["file"] == "-":
                self._write_out(secret, options["with_versions"])
                return
            path = Path(options["file"])
            _require_new(path, replaces=options["force"])
            with whole_file(path, replaces=options["force"]) as file:
                self._file_usage()
                written = write(file, secret, with_programs=options["with_versions"])
                size = file.tell()
        except BackupError as exc:
            raise CommandError(str(exc)) from None
        self._record(str(path))
        self.stdout.write(f"{_said(written)}, {_size(size)}, in {path}.")

    def _write_out(self, secret: str, with_programs: bool) -> None:
        if sys.stdout.isatty():
            raise BackupError("A backup is no text for a terminal: name a file, or send it to a program.")
        self._file_usage()
        try:
            written = write(sys.stdout.buffer, secret, with_programs=with_programs)
            sys.stdout.buffer.flush()
        except OSError as exc:
            raise BackupError(f"Cannot write to standard output: {exc.strerror or exc}.") from None
        self._record("standard output")
        self.stderr.write(f"{_said(written)}.")

    def _record(self, place: str) -> None:
        """Whoever has the file and the passphrase has everything."""
        if not schema.is_current():
            return
        try:
            record(CREATED, "backup", "", place)
        except Error as exc:
            self.stderr.write(f"The audit log has no row of this: {' '.join(str(exc).split())}")

    def _file(self, client: redis.Redis) -> None:
        """By the worker where there is one: under load there is always something that waits, and no end to it."""
        if redis_at_hand.process_there(client) is None:
            filing.flush(client, settings.SPOOL_DIR)
            contents.file(client, settings.CONTENT_RETENTION_DAYS)
        elif not _is_filed_by_worker(client):
            self.stderr.write("Usage that waits in Redis is not in the backup: the worker is behind.")

    def _file_usage(self) -> None:
        """What waits in Redis and in files goes into the database first."""
        if not schema.is_current():
            self.stderr.write("The database is older than the code: usage that waits in Redis is not in the backup.")
            return
        with redis_at_hand.of_backup(settings.ENV) as is_there:
            if not is_there:
                self.stderr.write("Redis does not answer: usage that waits in it is not in the backup.")
                return
            try:
                with connect(settings.REDIS_URL, redis_at_hand.WAIT_SEC) as client:
                    self._file(client)
            # A backup is wanted most where something is wrong.
            except (redis.RedisError, Error) as exc:
                why = " ".join(str(exc).split())
                self.stderr.write(f"Usage that waits in Redis is not in the backup, for it cannot be filed: {why}")


def _require_new(path: Path, *, replaces: bool) -> None:
    """Before any work is done for it. Raise BackupError."""
    if path.is_file() and not replaces:
        raise BackupError(f"{path} is there already: name a new file, or replace it with --force.")


def _is_filed_by_worker(client: redis.Redis) -> bool:
    """Whether all that waits now is filed in time."""
    now, deadline = time.time(), time.monotonic() + WORKER_SEC
    while (oldest := filing.oldest_waiting(client)) is not None and oldest <= now:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _said(written: Written) -> str:
    logins = f", {counted(written.logins, 'login')} of work directories" if written.logins else ""
    programs = f", {counted(written.programs, 'file')} of Lingma" if written.programs else ""
    rows = f"{counted(written.rows, 'row')} of {counted(written.tables, 'table')}"
    return f"Backed up {rows}, the keys of secrets{logins}{programs}"


def _size(count: int) -> str:
    return f"{count / (1 << 20):,.1f} MiB" if count >= 1 << 20 else f"{max(count >> 10, 1)} KiB"

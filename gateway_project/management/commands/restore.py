"""`restore FILE` makes this installation what it was when the backup was written."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import redis
from django.conf import settings
from django.core.management.base import CommandError, CommandParser
from django.db import Error

from accounts.audit.commands import RecordedCommand
from bridge.fleet.versions import trouble_here
from bridge.models import Version
from gateway_project.backup import passphrase, redis_at_hand, target, variables
from gateway_project.backup.errors import BackupError
from gateway_project.backup.reading import Checked, checked
from gateway_project.backup.restoring import restore
from gateway_project.backup.sealed import read_head
from gateway_project.backup.whole_file import whole_file
from gateway_project.env import SettingError
from gateway_project.lib.counted import counted
from gateway_project.lib.redis.redis_client import connect
from gateway_project.supervise.preflight import own_data_dir


class Command(RecordedCommand):
    """The gateway must not run. All of the file is checked before anything is changed."""

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", help="what `backup` has written; - for standard input")
        parser.add_argument("--replace", action="store_true", help="also where there is something: it will be gone")
        parser.add_argument(
            "--write-env", type=Path, metavar="F", help="a file that gets the settings of the backup, as an .env file"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if (file := options["write_env"]) is not None and file.exists():
            raise CommandError(f"{file} is there already: name a new file for the settings.")
        try:
            with own_data_dir(settings.ENV) as data_dir, _readable(options["file"], data_dir) as backup:
                read_head(backup)  # what is no backup needs no passphrase
                secret = passphrase.to_open(settings.ENV)
                found = checked(backup, secret)
                _require_pepper(found.manifest.key_pepper)
                with _redis(data_dir) as client:
                    _require_room(replace=options["replace"])
                    unreadable = restore(backup, secret, found, data_dir)
                    _forget(client, found, data_dir)
        except (BackupError, SettingError) as exc:
            raise CommandError(str(exc)) from None
        except Error as exc:
            raise CommandError(f"Nothing was restored: {' '.join(str(exc).split())}") from exc
        except OSError as exc:
            raise CommandError(f"Cannot restore: {exc.filename or 'DATA_DIR'}: {exc.strerror or exc}.") from None
        self._notes(found, unreadable, file)
        manifest = found.manifest
        self.stdout.write(
            f"Restored {counted(found.rows, 'row')} of {counted(len(found.tables), 'table')} and "
            f"{counted(found.files, 'file')}, of version "
            f"{manifest.gateway} at {manifest.made_at}."
        )

    def _notes(self, found: Checked, unreadable: int, file: Path | None) -> None:
        """What somebody has to do now."""
        if unreadable:
            self.stderr.write(
                f"{counted(unreadable, 'secret')} could not be read there either; `rotate_secrets` names them."
            )
        if settings.ENV.secret_key.get_secret_value() not in ("", found.manifest.secret_key):
            self.stderr.write("SECRET_KEY is another one here: people have to log in again.")
        for version in Version.objects.all():
            if trouble_here(version, settings.DATA_DIR):
                self.stderr.write(f"Lingma {version.version} is not here: install it with `lingma_install`.")
        theirs, here = variables.movable(found.manifest.settings), variables.all_set()
        if file is not None:
            self.stderr.write(_write_settings(file, theirs))
            return
        other = sorted(name for name, value in theirs.items() if here.get(name) != value)
        if other:
            self.stderr.write(f"Set there, and not the same here: {', '.join(other)}; --write-env F writes them.")


@contextmanager
def _readable(name: str, data_dir: Path) -> Iterator[BinaryIO]:
    """The file, which is read twice; what comes through a pipe is kept meanwhile, as it is: encrypted."""
    if name != "-":
        with ExitStack() as stack:
            try:
                file = stack.enter_context(Path(name).open("rb"))
            except OSError as exc:
                raise BackupError(f"Cannot read {name}: {exc.strerror}.") from None
            yield file
        return
    if sys.stdin.isatty():
        raise BackupError("A backup does not come from a terminal: name a file, or send one here.")
    with tempfile.TemporaryFile(dir=data_dir) as kept:
        shutil.copyfileobj(sys.stdin.buffer, kept)
        kept.seek(0)
        yield cast("BinaryIO", kept)


@contextmanager
def _redis(data_dir: Path) -> Iterator[redis.Redis]:
    """Redis, which no gateway uses. Raise BackupError, or SettingError."""
    with ExitStack() as stack:
        if not settings.ENV.redis_url:
            stack.enter_context(redis_at_hand.embedded(settings.ENV, data_dir))
        client = stack.enter_context(connect(settings.REDIS_URL, redis_at_hand.WAIT_SEC))
        try:
            process = redis_at_hand.process_there(client)
        except redis.RedisError as exc:
            raise BackupError(f"REDIS_URL: Redis does not answer: {' '.join(str(exc).split())}") from None
        if process is not None and settings.ENV.redis_url:
            raise BackupError(f"REDIS_URL: a gateway runs on it ({process}); stop it first.")
        yield client


def _require_pepper(theirs: str) -> None:
    if settings.ENV.key_pepper.get_secret_value() not in ("", theirs):
        raise BackupError("KEY_PEPPER is another one here: no key of the backup would be known. Unset it.")


def _require_room(*, replace: bool) -> None:
    if not replace and not target.is_empty():
        raise BackupError("This database is in use already; --replace throws away what is in it.")


def _forget(client: redis.Redis, found: Checked, data_dir: Path) -> None:
    """What refers to the database before: keys of other people may have the same ids. Of the same gateway what waits
    to be filed is kept, for those turns have happened.
    """
    is_same = found.manifest.key_pepper.encode() == settings.KEY_PEPPER
    try:
        redis_at_hand.forget(client, everything=not is_same)
    except redis.RedisError as exc:
        raise BackupError(
            f"Restored; but sessions and stored responses of before are left in Redis ({' '.join(str(exc).split())}): "
            "empty it before the gateway starts."
        ) from None
    if not is_same:
        for path in (data_dir / "spool").glob("usage.jsonl*"):
            path.unlink(missing_ok=True)


def _write_settings(path: Path, values: dict[str, str]) -> str:
    """What became of it, in a sentence."""
    if not values:
        return f"The backup has no settings that move, so {path} was not written."
    try:
        with whole_file(path) as file:
            file.write(variables.lines(values).encode())
    except BackupError as exc:
        raise CommandError(f"Restored; but {exc}") from None
    return f"Written to {path}, secrets too: {', '.join(sorted(values))}."

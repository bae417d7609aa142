"""Restores a backup that was checked: everything is made beside what is there, and takes its place in the end."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from accounts.audit.entries import record
from accounts.audit.watched import RESTORED
from gateway_project.backup import keys, load, schema, target
from gateway_project.backup.files import Staging
from gateway_project.backup.keys import KeyFiles
from gateway_project.backup.progress import Progress
from gateway_project.backup.reading import Checked, read
from gateway_project.backup.records import File, Table

STAGING: Final = ".restoring-"


def restore(file: BinaryIO, passphrase: str, checked: Checked, data_dir: Path) -> int:
    """How many secrets cannot be read. Raise BackupError, OSError or what the database raises; then nothing changed."""
    with _staging(data_dir) as staging:
        key_files = KeyFiles(data_dir, checked.manifest)
        with key_files.written(), target.new_database():
            schema.migrate_to(checked.manifest.migrations)
            _load(file, passphrase, checked, staging)
            target.migrate()
            unreadable = keys.reencrypt(checked.manifest)
            record(RESTORED, "backup", "", f"of {checked.manifest.made_at}")
        # What is left are names of files that are there.
        key_files.move()
        staging.move()
    return unreadable


def _load(file: BinaryIO, passphrase: str, checked: Checked, staging: Staging) -> None:
    loader, progress, count = None, Progress(), 0
    with target.unchecked():
        load.clear([each._meta.db_table for each in schema.models_of(checked.manifest.migrations)])
        for line in read(file, passphrase):
            if isinstance(line, list) and loader:
                loader.add(line)
                count += 1
                progress.step("rows", count)
            elif isinstance(line, bytes):
                staging.add(line)
            elif isinstance(line, File):
                staging.begin(line)
            elif loader:
                loader.end()
                loader = None
            if isinstance(line, Table):
                loader = load.Loader(line)
    staging.end()
    progress.end()


@contextmanager
def _staging(data_dir: Path) -> Iterator[Staging]:
    for left in data_dir.glob(f"{STAGING}*"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=STAGING, dir=data_dir) as folder:
        yield Staging(data_dir, Path(folder))

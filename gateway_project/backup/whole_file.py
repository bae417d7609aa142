"""A file that is there as a whole or not at all, and that nobody else can read."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from gateway_project.backup.errors import BackupError


@contextmanager
def whole_file(path: Path, *, replaces: bool = False) -> Iterator[BinaryIO]:
    """Is at `path` when the block ends well; a file that it `replaces` stays until then. Raise BackupError."""
    _require_room(path, replaces=replaces)
    # Not by the number of the process: in a container that is the same each time, and one that is killed leaves this.
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        opened = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except OSError as exc:
        raise BackupError(f"Cannot write {path}: {exc.strerror}.") from None
    try:
        with open(opened, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        # Somebody may have made one meanwhile.
        _require_room(path, replaces=replaces)
        draft.replace(path)
        sync_folder(path.parent)
    except OSError as exc:
        # Whatever is read for it may fail as well, and has a name of its own.
        what = f"read {exc.filename}" if exc.filename not in (None, str(draft), str(path)) else f"write {path}"
        raise BackupError(f"Cannot {what}: {exc.strerror or exc}.") from None
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


def _require_room(path: Path, *, replaces: bool) -> None:
    if path.exists() and not path.is_file():
        raise BackupError(f"{path} is there, and no file.")
    if path.exists() and not replaces:
        raise BackupError(f"{path} is there already: name a new file.")


def sync_folder(folder: Path) -> None:
    """Have a name that was just given outlive a crash of the machine. Raise OSError."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)

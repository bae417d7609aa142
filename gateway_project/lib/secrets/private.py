"""Files that only the gateway's own user may read: finds those that others can read, and takes that right away."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

OTHERS = 0o077
WHOLE = ("redis", "secrets", "spool")  # of other directories the door is enough
BESIDE_SQLITE = ("", "-wal", "-shm", "-journal")


def exposed(data_dir: Path, database: Path | None = None) -> list[Path]:
    """The directory and what in it others may read, the outermost first. `database` is SQLite's file, if that is it."""
    files = [database.with_name(database.name + end) for end in BESIDE_SQLITE] if database else []
    return [path for path in dict.fromkeys([*_protected(data_dir), *files]) if _is_wide(path)]


def narrow(paths: Iterable[Path]) -> list[Path]:
    """Take away the rights of others. Return the paths that are not ours to change."""
    return [path for path in paths if not _narrowed(path)]


def _protected(data_dir: Path) -> Iterator[Path]:
    yield data_dir
    with suppress(OSError):
        yield from data_dir.iterdir()
    for name in WHOLE:
        yield from (data_dir / name).rglob("*")


def _is_wide(path: Path) -> bool:
    with suppress(OSError):
        # lstat: another user might put a link here, and have us change the mode of a file elsewhere.
        mode = path.lstat().st_mode
        return not stat.S_ISLNK(mode) and bool(mode & OTHERS)
    return False


def _narrowed(path: Path) -> bool:
    with suppress(OSError):
        state = path.lstat()
        # A volume that belongs to somebody else, and a directory such as /tmp, are shared on purpose.
        if state.st_uid != os.geteuid() or state.st_mode & stat.S_ISVTX:
            return False
        path.chmod(stat.S_IMODE(state.st_mode) & ~OTHERS)
        return True
    return False

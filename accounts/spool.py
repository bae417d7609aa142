"""Lines kept in files while Redis is away: many processes append, any of them takes what is there."""

from __future__ import annotations

import fcntl
import logging
import os
import uuid
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

log = logging.getLogger(__name__)

SPOOL = "usage.jsonl"
REJECTED = "rejected.jsonl"


def append(directory: Path, lines: Iterable[bytes], name: str = SPOOL) -> None:
    """Add lines to a file that another process may be taking away. Never raises; what fails is logged whole."""
    data = b"".join(b"\n" + line + b"\n" for line in lines)  # the first newline ends what a full disk cut short
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        while not _append_to(directory / name, data):
            pass
    except OSError:
        log.exception("usage rows could be written neither to Redis nor to %s: %s", directory, data.decode())


def _append_to(path: Path, data: bytes) -> bool:
    """False when the file was taken away between opening and locking it."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        if not _is_still(file, path):
            return False
        if os.write(file, data) < len(data):
            raise OSError(f"{path}: no space left")
        return True
    finally:
        os.close(file)


def _is_still(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def waiting(directory: Path) -> int:
    """How many lines wait."""
    return sum(len(lines_of(path)) for path in _files(directory))


def take(directory: Path) -> Iterator[Path]:
    """Files that nobody writes to any more, those of a taker that died included. The caller deletes them."""
    with suppress(FileNotFoundError):
        (directory / SPOOL).rename(directory / f"{SPOOL}.{uuid.uuid4().hex}")
    for path in _files(directory):
        if path.name != SPOOL and _settled(path):
            yield path


def _settled(path: Path) -> bool:
    """Wait for the writer that got in before the move; one that comes later sees the move."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
    except FileNotFoundError:  # another taker was faster
        return False
    return True


def lines_of(path: Path) -> list[bytes]:
    """The lines of a file, none when it is gone."""
    try:
        return [line for line in path.read_bytes().split(b"\n") if line]
    except FileNotFoundError:
        return []


def _files(directory: Path) -> list[Path]:
    return sorted(directory.glob(f"{SPOOL}*"))

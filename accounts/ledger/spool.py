"""Lines kept in files while Redis is away: many processes append, any of them takes what is there."""

from __future__ import annotations

import errno
import fcntl
import os
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final

from accounts.ledger.unwritten import Unwritten
from gateway_project.lib import disk

SPOOL = "usage.jsonl"
REJECTED = "rejected.jsonl"

LOCK_TRIES: Final = 20  # a millisecond each; who holds the lock writes for microseconds, unless it was stopped


def append(directory: Path, lines: Iterable[bytes], name: str = SPOOL) -> None:
    """Add lines to a file that another process may be taking away. Never raises: what fails waits in memory."""
    path, pending = directory / name, list(lines)
    try:
        # While the disk fails, rows queue behind those in memory: trying here would block the event loop at each row.
        if not unwritten:  # otherwise a thread tries, and knows before us when there is room
            _write(path, pending)
            return
    except OSError:
        pass
    unwritten.keep(path, pending)


def _write(path: Path, lines: Sequence[bytes]) -> None:
    # One write call for all: readers split at newlines and skip empty lines.
    data = b"".join(b"\n" + line + b"\n" for line in lines)  # the first newline ends what a crash cut short
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Again into a new file where a taker has moved this one away; that happens once in a flush.
        while not _append_to(path, data):
            pass
    # The lock was busy, so nothing is wrong with the disk: it is not reported as failing.
    except BlockingIOError:
        raise
    except OSError as exc:
        disk.fails("usage rows", exc)
        raise
    disk.works("usage rows")


unwritten: Final = Unwritten(_write)
"""Lines of this process that wait until their file takes them."""


def _append_to(path: Path, data: bytes) -> bool:
    """False when the file was taken away between opening and locking it."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _lock(file, fcntl.LOCK_EX)
        if not _is_still(file, path):
            return False
        # The disk was full in the middle: cut the half line off, or the next writer's line would grow onto it.
        if (written := os.write(file, data)) < len(data):
            os.ftruncate(file, os.fstat(file).st_size - written)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return True
    finally:
        os.close(file)


def _lock(file: int, kind: int) -> None:
    """Raise BlockingIOError when somebody holds it for long."""
    for _ in range(LOCK_TRIES):
        # Never a blocking lock: this may run in the event loop, and a stopped process holds its lock for ever.
        with suppress(BlockingIOError):
            return fcntl.flock(file, kind | fcntl.LOCK_NB)
        time.sleep(0.001)
    raise BlockingIOError(errno.EAGAIN, "the file is locked")


def _is_still(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def waiting(directory: Path) -> int:
    """The number of lines that are still to be filed, in the files and in this process's memory."""
    return sum(1 for path in _files(directory) for _ in each_line_of(path)) + len(unwritten)


def take(directory: Path) -> Iterator[Path]:
    """Files that nobody writes to any more, those of a taker that died included. The caller deletes them."""
    with suppress(FileNotFoundError):
        # The name is unique, so several takers at once each get files of their own and never overwrite one.
        (directory / SPOOL).rename(directory / f"{SPOOL}.{uuid.uuid4().hex}")
    for path in _files(directory):
        # Files under other names are also those of a taker that was killed before it deleted them.
        if path.name != SPOOL and _settled(path):
            yield path


def _settled(path: Path) -> bool:
    """Wait for the writer that got in before the move; one that comes later sees the move."""
    try:
        with path.open("rb") as file:
            _lock(file.fileno(), fcntl.LOCK_SH)
    except (FileNotFoundError, BlockingIOError):  # another taker was faster, or the writer stands still: next time
        return False
    return True


def hold(directory: Path, most: int, held: ExitStack) -> list[BinaryIO]:
    """Of the same files up to `most`, open and locked until `held` ends: no other process holds them as well."""
    return [file for path in islice(take(directory), most) if (file := _held(path, held))]


def _held(path: Path, held: ExitStack) -> BinaryIO | None:
    with ExitStack() as opened, suppress(FileNotFoundError, BlockingIOError):
        file = opened.enter_context(path.open("rb"))
        _lock(file.fileno(), fcntl.LOCK_EX)
        if _is_still(file.fileno(), path):  # else another one has done with it, and deleted it
            held.push(opened.pop_all())
            return file
    return None


def lines_of(path: Path) -> list[bytes]:
    """The lines of a file, none when it is gone."""
    return list(each_line_of(path))


def each_line_of(path: Path) -> Iterator[bytes]:
    """The same one by one: of a long outage there may be a million, and to split them at once would hold all threads up
    for a second.
    """
    with suppress(FileNotFoundError), path.open("rb") as file:
        yield from (stripped for line in file if (stripped := line.rstrip(b"\n")))


def is_empty(directory: Path) -> bool:
    """No line of this or any other process waits."""
    return not unwritten and not _files(directory)


def _files(directory: Path) -> list[Path]:
    return sorted(directory.glob(f"{SPOOL}*"))

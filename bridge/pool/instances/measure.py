"""What instances take of memory and disk, as the system tells it."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

MOST_FILES: Final = 20_000
"""So many files of a work dir are counted; one with more has that many at least."""
PAGE: Final = os.sysconf("SC_PAGE_SIZE")
BLOCK: Final = 512


class Measure(msgspec.Struct, frozen=True):
    """Bytes; None: nobody can know, as of a service that runs elsewhere."""

    memory: int | None = None
    disk: int | None = None


def measured(places: Sequence[tuple[int, Path]], proc: Path = Path("/proc")) -> list[Measure]:
    """Of services with these process ids (0: none runs) and work dirs."""
    memory = memory_of({pid for pid, _ in places if pid}, proc)
    return [Measure(0 if not pid else memory.get(pid), disk_of(work_dir)) for pid, work_dir in places]


def memory_of(sessions: Collection[int], proc: Path = Path("/proc")) -> Mapping[int, int]:
    """Resident bytes of all processes of each session: a service begins one, and its children are in it.

    Empty where the system has no /proc.
    """
    found: dict[int, int] = {}
    for session, pages in _processes(proc) if sessions else ():
        if session in sessions:
            found[session] = found.get(session, 0) + pages * PAGE
    return found


def _processes(proc: Path) -> Iterator[tuple[int, int]]:
    """Session and resident pages of each process."""
    with suppress(OSError):
        for name in os.listdir(proc):
            if name.isdigit():
                # It may have ended since. Fields 6 and 24 of proc(5); the name before them may hold blanks.
                with suppress(OSError, ValueError, IndexError):
                    fields = (proc / name / "stat").read_bytes().rpartition(b")")[2].split()
                    yield int(fields[3]), int(fields[21])


def disk_of(directory: Path) -> int | None:
    """Bytes that its files take; None where it cannot be read."""
    size, files, left = 0, 0, [os.fspath(directory)]
    try:
        while left and files < MOST_FILES:
            with os.scandir(left.pop()) as entries:
                for entry in entries:
                    files += 1
                    with suppress(FileNotFoundError):
                        size += entry.stat(follow_symlinks=False).st_blocks * BLOCK
                        if entry.is_dir(follow_symlinks=False):
                            left.append(entry.path)
    except FileNotFoundError:
        return 0 if not files else size
    except OSError:
        return None
    return size

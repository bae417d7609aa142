"""The service's log, read as it grows: for some dialects the only place with real token usage."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from bridge.lingma.dialects.base import LogFormat, LoggedUsage
from gateway_project.lib.json_errors import UNREADABLE

MAX_READ = 4 << 20  # bytes looked at per read; of a longer backlog only the end matters
MAX_USAGES = 4096
WAITS = (0.005, 0.015, 0.03, 0.05)  # seconds; the line is nearly always there before the turn's last push
RETRY_SEC = 1.0  # after there was no log
MISSES = 3  # turns without figures after which nobody waits any more
LATEST_SEC = 60.0  # after the first turn without figures: from then on a service that has never logged any logs none


class LogTail:
    """Follow the log, also over rotation. A look is one short read of a local file, when a turn ends."""

    def __init__(self, work_dir: Path, format_: LogFormat) -> None:
        self.late_acks = 0
        """Lines in which the service complains about a missing acknowledgement."""
        self.renewed = self.not_renewed = 0
        """Lines that say that it has renewed its login, or could not."""
        self._format = format_
        self._path = str(work_dir / format_.path)
        self._usages: dict[str, LoggedUsage] = {}
        self._inode = 0
        self._offset = 0
        self._rest = b""
        self._misses = 0  # in a row
        self._has_figures = False
        self._decided_at = 0.0  # 0: no turn was without figures
        self._file: int | None = None
        self._retry_at = 0.0
        with suppress(OSError):  # what is in the log already is about turns of an earlier run
            self._file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            stat = os.fstat(self._file)
            self._inode, self._offset = stat.st_ino, stat.st_size

    def close(self) -> None:
        """Nothing is read any more, whoever still asks."""
        self._retry_at = float("inf")
        self._close_file()

    def _close_file(self) -> None:
        descriptor, self._file = self._file, None
        if descriptor is not None:
            os.close(descriptor)

    @property
    def worth_waiting(self) -> bool:
        """Figures that are not there yet may only be late: the service has a log, and wrote them lately."""
        return self._inode != 0 and self._misses < MISSES

    @property
    def may_come(self) -> bool:
        """Figures may still come, however late. Each turn that is waited for takes memory, and so time, of all."""
        if self._has_figures or not self._inode:
            return self._has_figures
        if not self._decided_at:
            self._decided_at = time.monotonic() + LATEST_SEC
        return time.monotonic() < self._decided_at

    def usage(self, request_id: str) -> LoggedUsage | None:
        """The usage of one turn, once: None as long as it is not in the log."""
        if request_id not in self._usages:
            self.look()
        # Taken out: each turn asks once, and what nobody asks for is bounded by MAX_KEPT.
        usage = self._usages.pop(request_id, None)
        if usage is not None:
            self._misses = 0
        return usage

    def usages(self, request_ids: Collection[str]) -> list[LoggedUsage]:
        """The usages of those turns that are in the log by now; each once."""
        self.look()
        return [self._usages.pop(id_) for id_ in request_ids if id_ in self._usages]

    def look(self) -> None:
        """Read what has come since."""
        if time.monotonic() < self._retry_at:
            return
        try:
            self._read_new()
        except OSError:
            if not self._inode:  # not every service keeps a log, and asking for it each time is not free
                self._retry_at = time.monotonic() + RETRY_SEC

    async def wait_for(self, request_id: str) -> LoggedUsage | None:
        """The usage of one turn, or None when it has not come in good time."""
        for pause in WAITS:
            await asyncio.sleep(pause)
            if (usage := self.usage(request_id)) is not None:
                return usage
        # A version without these lines must not slow down the end of every turn by the sum of WAITS.
        self._misses += 1
        return None

    def _read_new(self) -> None:
        # By path and not by the open file: this is how a rotation shows.
        stat = os.stat(self._path)
        if stat.st_ino != self._inode:
            if self._file is not None:  # rotated: what came last is in the old file
                self._read_to(os.fstat(self._file).st_size)
            self._close_file()
            self._file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            self._inode, self._offset, self._rest = stat.st_ino, 0, b""
        if stat.st_size < self._offset:  # cut short
            self._offset, self._rest = 0, b""
        self._read_to(stat.st_size)

    def _read_to(self, size: int) -> None:
        if self._file is None or size <= self._offset:
            return
        # A jump forward may cut a line in two. Its rest does not decode and is dropped, as one turn without figures.
        start = max(self._offset, size - MAX_READ)
        data = os.pread(self._file, size - start, start)
        self._offset = start + len(data)
        self._parse(self._rest + data)

    def _parse(self, data: bytes) -> None:
        # A line may be half written at the moment of the look; the rest waits for the next one.
        whole, _, self._rest = data.rpartition(b"\n")
        self.late_acks += whole.count(self._format.late_ack)
        if self._format.renewal in whole:
            self._count_renewals(whole)
        mark = self._format.usage
        # Searched by bytes and not line by line: nearly all lines are about something else.
        position = whole.find(mark)
        while position >= 0:
            end = whole.find(b"\n", position)
            self._store(whole[position + len(mark) : end if end >= 0 else len(whole)])
            position = whole.find(mark, position + 1)

    def _count_renewals(self, whole: bytes) -> None:
        lines = [each for each in whole.split(b"\n") if self._format.renewal in each]
        renewed = sum(self._format.renewed in each for each in lines)
        self.renewed += renewed
        self.not_renewed += len(lines) - renewed

    def _store(self, text: bytes) -> None:
        try:
            usage = self._format.decode(text.strip())
        # Another line may hold the mark as well, if it quotes a prompt: whatever a client writes may follow.
        except UNREADABLE:
            return
        self._has_figures = True
        self._usages[usage.request_id] = usage
        while len(self._usages) > MAX_USAGES:
            del self._usages[next(iter(self._usages))]

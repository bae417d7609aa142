"""The service's log, read as it grows: for some dialects the only place that tells real token usage."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import suppress
from pathlib import Path

import msgspec

from bridge.lingma.dialects.base import LogFormat, LoggedUsage

MAX_READ = 4 << 20  # bytes looked at per read; of a longer backlog only the end matters
MAX_KEPT = 4096
WAITS = (0.005, 0.015, 0.03, 0.05)  # seconds; the line is nearly always there before the turn's last push
LOOK_AGAIN_SEC = 1.0  # after there was no log
MISSES = 3  # turns without figures after which nobody waits any more


class LogTail:
    """Follow the log, also over rotation. A look is one short read of a local file, when a turn ends."""

    def __init__(self, work_dir: Path, format_: LogFormat) -> None:
        self.late_acks = 0
        """Lines in which the service complains about a missing acknowledgement."""
        self._format = format_
        self._path = str(work_dir / format_.path)
        self._usages: dict[str, LoggedUsage] = {}
        self._inode = 0
        self._offset = 0
        self._rest = b""
        self._misses = 0  # in a row
        self._file: int | None = None
        self._look_again_at = 0.0
        with suppress(OSError):  # what was told before is about turns of an earlier run
            self._file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            facts = os.fstat(self._file)
            self._inode, self._offset = facts.st_ino, facts.st_size

    def close(self) -> None:
        """Let go of the file."""
        descriptor, self._file = self._file, None
        if descriptor is not None:
            os.close(descriptor)

    @property
    def worth_waiting(self) -> bool:
        """Figures that are not there yet may only be late: the service has a log, and wrote them lately."""
        return self._inode != 0 and self._misses < MISSES

    def usage(self, request_id: str) -> LoggedUsage | None:
        """The usage of one turn, once: None as long as the log has not told it."""
        if request_id not in self._usages and time.monotonic() >= self._look_again_at:
            try:
                self._read_new()
            except OSError:
                if not self._inode:  # not every service keeps a log, and asking for it each time is not free
                    self._look_again_at = time.monotonic() + LOOK_AGAIN_SEC
        usage = self._usages.pop(request_id, None)
        if usage is not None:
            self._misses = 0
        return usage

    async def wait_for(self, request_id: str) -> LoggedUsage | None:
        """The usage of one turn, or None when it has not come in good time."""
        for pause in WAITS:
            await asyncio.sleep(pause)
            if (usage := self.usage(request_id)) is not None:
                return usage
        self._misses += 1
        return None

    def _read_new(self) -> None:
        facts = os.stat(self._path)
        if facts.st_ino != self._inode:
            if self._file is not None:  # rotated: what came last is in the old file
                self._read_to(os.fstat(self._file).st_size)
            self.close()
            self._file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            self._inode, self._offset, self._rest = facts.st_ino, 0, b""
        if facts.st_size < self._offset:  # cut short
            self._offset, self._rest = 0, b""
        self._read_to(facts.st_size)

    def _read_to(self, size: int) -> None:
        if self._file is None or size <= self._offset:
            return
        start = max(self._offset, size - MAX_READ)
        data = os.pread(self._file, size - start, start)
        self._offset = start + len(data)
        self._parse(self._rest + data)

    def _parse(self, data: bytes) -> None:
        whole, _, self._rest = data.rpartition(b"\n")
        self.late_acks += whole.count(self._format.late_ack)
        mark = self._format.usage
        position = whole.find(mark)
        while position >= 0:
            end = whole.find(b"\n", position)
            self._keep(whole[position + len(mark) : end if end >= 0 else len(whole)])
            position = whole.find(mark, position + 1)

    def _keep(self, text: bytes) -> None:
        try:
            usage = self._format.decode(text.strip())
        except msgspec.DecodeError:
            return
        self._usages[usage.request_id] = usage
        while len(self._usages) > MAX_KEPT:
            del self._usages[next(iter(self._usages))]

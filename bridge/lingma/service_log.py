"""The service's log, read as it grows: the only place where dialect A tells real token usage (lingma-protocol 3.3)."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import msgspec

_USAGE = b"[TOKEN_USAGE]: "
_LATE_ACK = b"no response from client"
MAX_READ = 4 << 20  # bytes looked at per read; of a longer backlog only the end matters
MAX_KEPT = 4096
WAITS = (0.005, 0.015, 0.03, 0.05)  # seconds; the line is nearly always there before the turn's last push
MISSES = 3  # turns without figures after which nobody waits any more


class LoggedUsage(msgspec.Struct, gc=False):
    """One `[TOKEN_USAGE]` line."""

    request_id: str
    prompt_tokens: int
    completion_tokens: int


_decode = msgspec.json.Decoder(LoggedUsage).decode


class ServiceLog:
    """Follow `logs/lingma.log`, also over rotation. A look is one short read of a local file, when a turn ends."""

    def __init__(self, work_dir: Path) -> None:
        self.late_acks = 0
        """Lines in which the service complains about a missing acknowledgement."""
        self._path = work_dir / "logs" / "lingma.log"
        self._usages: dict[str, LoggedUsage] = {}
        self._inode = 0
        self._offset = 0
        self._rest = b""
        self._misses = 0  # in a row
        self._read_new(only_skip=True)

    def usage(self, request_id: str) -> LoggedUsage | None:
        """The usage of one turn, once: None as long as the log has not told it."""
        if request_id not in self._usages:
            self._read_new()
        return self._usages.pop(request_id, None)

    def may_come(self, request_id: str) -> bool:
        """The figures are not there, but a service that writes them may only be late."""
        if request_id not in self._usages:
            self._read_new()
        return self._inode != 0 and self._misses < MISSES and request_id not in self._usages

    async def wait_for(self, request_id: str) -> None:
        """Wait until the figures are there, or it is not worth waiting any longer."""
        for pause in WAITS:
            await asyncio.sleep(pause)
            if not self.may_come(request_id):
                self._misses = 0
                return
        self._misses += 1

    def _read_new(self, *, only_skip: bool = False) -> None:
        try:
            with self._path.open("rb", buffering=0) as file:
                self._follow(file.fileno(), only_skip)
        except OSError:
            self._inode = 0

    def _follow(self, descriptor: int, only_skip: bool) -> None:
        facts = os.fstat(descriptor)
        if facts.st_ino != self._inode or facts.st_size < self._offset:
            self._inode, self._offset, self._rest = facts.st_ino, 0, b""
        if only_skip or facts.st_size - self._offset > MAX_READ:
            self._offset = facts.st_size if only_skip else facts.st_size - MAX_READ
        if facts.st_size > self._offset:
            data = os.pread(descriptor, facts.st_size - self._offset, self._offset)
            self._offset += len(data)
            self._parse(self._rest + data)

    def _parse(self, data: bytes) -> None:
        whole, _, self._rest = data.rpartition(b"\n")
        self.late_acks += whole.count(_LATE_ACK)
        position = whole.find(_USAGE)
        while position >= 0:
            end = whole.find(b"\n", position)
            self._keep(whole[position + len(_USAGE) : end if end >= 0 else len(whole)])
            position = whole.find(_USAGE, position + 1)

    def _keep(self, text: bytes) -> None:
        try:
            usage = _decode(text.strip())
        except msgspec.DecodeError:
            return
        self._usages[usage.request_id] = usage
        while len(self._usages) > MAX_KEPT:
            del self._usages[next(iter(self._usages))]

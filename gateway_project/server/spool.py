"""A file on its way to the disk, off the loop: one at a time on this machine, and nothing of it is left."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Final, TypeVar

from gateway_project.lib.pages.uploads import NotUploaded, Trouble

PIECE: Final = 1 << 20
DISK_SEC: Final = 30.0
RESERVE: Final = 256 << 20
"""Bytes that stay free on the disk: usage rows, the database and Redis want some."""
NAME: Final = "upload.vsix"
LOCK: Final = "lock"
T = TypeVar("T")


class Spool:
    """`async with` holds the one place that there is; at its end the file is gone. `announced` bytes, 0: not known."""

    def __init__(self, directory: Path, most: int, announced: int) -> None:
        self.size = 0
        self._path, self._lock_path = directory / NAME, directory / LOCK
        self._most = most
        self._announced = announced
        self._waiting = bytearray()
        self._digest = hashlib.sha256()
        self._file: IO[bytes] | None = None
        self._lock: IO[bytes] | None = None
        # One thread, so that the file is closed behind a write that hangs.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="upload")

    async def __aenter__(self) -> Spool:
        try:
            await self._on_disk(self._open)
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._end()

    async def write(self, data: bytes) -> None:
        """Raise NotUploaded."""
        self.size += len(data)
        if self.size > self._most:
            raise NotUploaded(Trouble.TOO_LARGE, mib=self._most >> 20)
        self._waiting += data
        if len(self._waiting) >= PIECE:
            await self._flush()

    async def finish(self) -> tuple[Path, str]:
        """The file, until `async with` ends, and its SHA-256. Raise NotUploaded."""
        if not self.size:
            raise NotUploaded(Trouble.NONE_SENT)
        await self._flush()
        await self._on_disk(self._close_file)
        return self._path, self._digest.hexdigest()

    async def _flush(self) -> None:
        data = bytes(self._waiting)
        self._waiting.clear()
        await self._on_disk(lambda: self._write(data))

    async def _on_disk(self, work: Callable[[], T]) -> T:
        running = asyncio.get_running_loop().run_in_executor(self._thread, work)
        await asyncio.wait({running}, timeout=DISK_SEC)
        if not running.done():
            raise NotUploaded(Trouble.NOT_WRITTEN)
        try:
            return running.result()
        except OSError as exc:
            full = exc.errno in (errno.ENOSPC, errno.EDQUOT)
            raise NotUploaded(Trouble.DISK_FULL if full else Trouble.NOT_WRITTEN) from exc

    async def _end(self) -> None:
        """Never raises; a disk that hangs is not waited for."""
        running = asyncio.get_running_loop().run_in_executor(self._thread, self._clear)
        self._thread.shutdown(wait=False)
        await asyncio.wait({running}, timeout=DISK_SEC)

    # -- in the thread ----------------------------------------------------------------------------------------------

    def _open(self) -> None:
        directory = self._path.parent
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = self._lock_path.open("ab")
        try:
            # The kernel lets go of it when the process dies.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise NotUploaded(Trouble.BUSY) from None
        self._lock = lock
        # With the lock held, whatever lies there was left by a process that died.
        self._path.unlink(missing_ok=True)
        if shutil.disk_usage(directory).free < self._announced + RESERVE:
            raise NotUploaded(Trouble.DISK_FULL)
        self._file = os.fdopen(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb")

    def _write(self, data: bytes) -> None:
        file = self._file
        if file is None:
            return
        free = os.fstatvfs(file.fileno())
        if free.f_bavail * free.f_frsize < len(data) + RESERVE:
            raise NotUploaded(Trouble.DISK_FULL)
        self._digest.update(data)
        file.write(data)

    def _close_file(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _clear(self) -> None:
        with suppress(OSError):
            self._close_file()
        if self._lock is not None:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)
            # Last: whoever gets the place deletes what it finds.
            self._lock.close()
            self._lock = None

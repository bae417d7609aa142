"""Work on files, off the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

WAIT_SEC: Final = 5.0
T = TypeVar("T")


class Disk:
    """A disk that hangs has one thread, and is not asked again until it answers."""

    def __init__(self, name: str) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._running: asyncio.Future[Any] | None = None
        self._closed = False

    async def run(self, work: Callable[[], T]) -> T:
        """Raise TimeoutError, or what the work raises."""
        if self._closed or (self._running is not None and not self._running.done()):
            raise TimeoutError
        running = asyncio.get_running_loop().run_in_executor(self._thread, work)
        self._running = running
        await asyncio.wait({running}, timeout=WAIT_SEC)
        if not running.done():
            raise TimeoutError
        return running.result()

    def close(self) -> None:
        self._closed = True
        self._thread.shutdown(wait=False)

"""A thread of its own for queries, which a query that does not come back cannot stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from django.db import OperationalError

MOST_LOST = 4
T = TypeVar("T")


class QueryThread:
    """
    Runs one query after the other.

    Queries have deadlines of their own; where those do not help, as on a disk that hangs, the thread is given up with
    its query and another takes its place. A few at most are lost at once: then there are no more until one comes back.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._thread = self._another()
        self._lost: set[asyncio.Future[Any]] = set()

    def _another(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(1, thread_name_prefix=self._name)

    async def run(self, query: Callable[[], T], within: float) -> T:
        """The query's result. Raise OperationalError when there is none in time, and whatever the query raises."""
        # Each lost query holds a thread and a connection. Without this bound an outage would use up both.
        if len(self._lost) >= MOST_LOST:
            raise OperationalError("earlier queries do not come back")
        thread = self._thread
        begun = thread.submit(query)
        running = asyncio.wrap_future(begun)
        # `wait` and not `wait_for`: that one would cancel the Future, and the thread would go on unseen.
        await asyncio.wait({running}, timeout=within)
        if running.done():
            return running.result()
        begun.cancel()  # one that waited behind a query that hangs need not run any more
        running.add_done_callback(_forget)
        self._give_up(thread)
        raise OperationalError(f"no answer within {within:g} s")

    def _give_up(self, thread: ThreadPoolExecutor) -> None:
        # Whoever waited behind one query comes here, too: the thread was lost once, and its successor is well.
        if thread is not self._thread:
            return
        ended = asyncio.wrap_future(thread.submit(lambda: None))
        self._lost.add(ended)
        ended.add_done_callback(self._lost.discard)
        # The old executor keeps its one thread until the query ends; nothing new goes there.
        thread.shutdown(wait=False)
        self._thread = self._another()


def _forget(running: asyncio.Future[Any]) -> None:
    if not running.cancelled():
        running.exception()  # nobody waits for it any more

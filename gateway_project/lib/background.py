"""Background work that must not end, until it is told to: an exception is logged, and it starts again.

Its pauses end together, so that an idle process wakes up a few times a second, and not once for each.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Collection, Coroutine
from typing import Any, Final

logger = logging.getLogger(__name__)

RETRY_SEC: Final = 1.0
END_SEC: Final = 8.0
"""How long a stop waits for work that was told to end."""
ASKED: Final = 4


async def keep_going(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Do the work until it ends by itself or is cancelled. A process may be out of threads, memory or descriptors."""
    while True:
        try:
            return await work()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Nobody has told it to end: something that it waited for was cancelled.
            logger.exception("%s was broken off and starts again", work.__qualname__)
        except Exception:  # an edge: nobody else would see it
            logger.exception("%s failed and starts again", work.__qualname__)
        # Without the pause, work that fails at once would take the whole loop.
        await asyncio.sleep(RETRY_SEC)


def until_next(seconds: float) -> float:
    """How long a pause of about so many seconds is to be: all of one length in this process end at the same moment.

    Then what they ask of Redis is one write, too. A pause of one length ends with those of its divisors.
    """
    # Whole milliseconds, as uvloop's timers count them; other moments in each process, or all would wake up at once.
    begun = os.getpid() * 37 % 1000 / 1000
    left = seconds - (asyncio.get_running_loop().time() - begun) % seconds
    # A timer may be a moment early: its moment is then not the next one.
    return left if left > seconds / 10 else left + seconds


async def pause(seconds: float) -> None:
    """Sleep `until_next`."""
    await asyncio.sleep(until_next(seconds))


async def end(tasks: Collection[asyncio.Task[Any]], within: float = END_SEC) -> None:
    """Cancel them, and wait for so many seconds at most; who is left then is named in the log.

    They are asked more than once: a cancellation that comes together with a time-out can be lost in what waits there,
    and work that is kept going would begin again.
    """
    left = set(tasks)
    for _ in range(ASKED):
        for task in left:
            task.cancel()
        if left:
            _, left = await asyncio.wait(left, timeout=within / ASKED)
    for task in left:
        logger.error("%s does not end; it is left behind", task.get_coro())

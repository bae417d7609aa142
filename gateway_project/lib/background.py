"""Background work that must not end: an exception is logged, and it starts again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final

logger = logging.getLogger(__name__)

RETRY_SEC: Final = 1.0


async def keep_going(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Do the work until it ends by itself or is cancelled. A process may be out of threads, memory or descriptors."""
    while True:
        try:
            return await work()
        except Exception:  # an edge: nobody else would see it
            logger.exception("%s failed and starts again", work.__qualname__)
        # Without the pause, work that fails at once would take the whole loop.
        await asyncio.sleep(RETRY_SEC)

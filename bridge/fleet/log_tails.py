"""The ends of instances' logs for the console: each process publishes those that somebody looks at, and no others."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

import msgspec
from django.db import OperationalError

from bridge.fleet.log_tail_facts import KEPT_SEC, LogTailFacts
from bridge.lingma.process.last_lines import last_lines
from bridge.pool.instances.instance import Instance
from bridge.pool.pool import Pool
from gateway_project.lib.database.query_thread import QueryThread
from gateway_project.lib.redis import redis_keys
from gateway_project.lib.redis.redis_link import RedisLink
from gateway_project.lib.secrets.redaction import redacted
from gateway_project.lib.visible import visible

logger = logging.getLogger(__name__)

MOST: Final = 8
"""Logs of a process that are published at once."""
READ_SEC: Final = 2.0
LONGEST_LINE: Final = 500


class LogTails:
    """Those of the instances of one process."""

    def __init__(self, link: RedisLink, pool: Pool) -> None:
        self._link = link
        self._pool = pool
        # Not on the loop: a disk may hang.
        self._thread = QueryThread("logs")

    async def publish(self) -> None:
        """Once, while somebody looks. Raise RedisUnavailable or ResponseError."""
        instances = self._pool.instances.copy()
        if not instances:
            return
        wanted = await self._link.execute("MGET", *(redis_keys.LOG_WANTED + each.name for each in instances))
        asked = [each for each, value in zip(instances, wanted, strict=True) if value is not None]
        for each in asked[:MOST]:
            facts = await self._read(each)
            await self._link.execute("SET", redis_keys.LOG + each.name, msgspec.json.encode(facts), "EX", KEPT_SEC)

    async def _read(self, instance: Instance) -> LogTailFacts:
        path = instance.log_path
        if path is None:
            return LogTailFacts(why="attached")
        try:
            return LogTailFacts(await self._thread.run(lambda: shown(path), READ_SEC))
        except (OSError, OperationalError) as exc:
            logger.debug("%s: its log cannot be read: %s", instance.name, exc)
            return LogTailFacts(why="unreadable")


def shown(path: Path) -> list[str]:
    """Without secrets and without signs that do harm. Raise OSError."""
    # Cut last: of a secret that is cut, what is left may not look like one.
    return [visible(redacted(line))[:LONGEST_LINE] for line in last_lines(path)]

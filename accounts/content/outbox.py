"""The web process's side: contents of turns on their way to the worker, through a bounded stream of their own."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Final, Literal

import redis
from django.db import OperationalError

from accounts.content.redaction import redacted
from accounts.content.turn_content import TurnContent, packed
from gateway_project.lib.database.query_thread import QueryThread
from gateway_project.lib.redis import redis_keys
from gateway_project.lib.redis.redis_link import RedisLink, RedisUnavailable, Script
from gateway_project.lib.secrets.secrets_at_rest import box

logger = logging.getLogger(__name__)

Loss = Literal["busy", "full", "redis", "failed"]

MOST_BYTES: Final = 64 << 20
"""Encrypted, waiting for the worker in Redis. Contents that come then are dropped; their usage rows are not."""
MOST_PENDING: Final = 64
"""Of this process, on their way to Redis."""
WITHIN_SEC: Final = 5.0

# KEYS the stream, its bytes; ARGV most bytes, request, key, time, content.
# In one step: between a look at the bytes and XADD other processes would add theirs.
_ADD: Final = Script("""
if tonumber(redis.call('GET', KEYS[2]) or '0') + #ARGV[5] > tonumber(ARGV[1]) then return 0 end
redis.call('XADD', KEYS[1], '*', 'request', ARGV[2], 'key', ARGV[3], 'at', ARGV[4], 'content', ARGV[5])
redis.call('INCRBY', KEYS[2], #ARGV[5])
return 1
""")


class Outbox:
    """Takes contents when their turns have ended. Nobody waits for it; what cannot be sent is dropped and counted."""

    def __init__(self, link: RedisLink, dropped: Callable[[Loss], None]) -> None:
        """`link`: not that of the turns, whose short commands would wait for some hundred KiB."""
        self._link = link
        self._dropped = dropped
        self._pending = 0
        self._thread = QueryThread("contents")

    async def send(self, request_id: str, key_id: int, started_at: float, make: Callable[[], TurnContent]) -> None:
        """Take secrets out, encrypt, and put what `make` makes where the worker finds it. Never raises."""
        if self._pending >= MOST_PENDING:
            return self._dropped("busy")
        self._pending += 1
        try:
            # Cut here, so that no more is held than is kept. The rest takes milliseconds that no turn should wait for.
            token = await self._thread.run(partial(sealed, make()), WITHIN_SEC)
            args = (MOST_BYTES, request_id, key_id, started_at, token)
            taken = await self._link.run(_ADD, (redis_keys.CONTENT, redis_keys.CONTENT_BYTES), args)
        except (RedisUnavailable, redis.RedisError):
            self._dropped("redis")
        except OperationalError:  # the thread has too much to do
            self._dropped("busy")
        except Exception:  # an edge: whatever it is, the turn has ended well
            logger.exception("the content of a turn could not be kept")
            self._dropped("failed")
        else:
            if not taken:
                self._dropped("full")
        finally:
            self._pending -= 1
        return None


def sealed(content: TurnContent) -> bytes:
    """What lies in Redis and in the database: without secrets of known forms, compressed, encrypted."""
    for said in content.messages:
        said.text = redacted(said.text)
        for call in said.calls:
            call.arguments = redacted(call.arguments)
    for piece in content.reply:
        piece.text = redacted(piece.text)
    return box().encrypt(packed(content))

"""The end of an instance's log, as it goes through Redis from who has it to who asks."""

from __future__ import annotations

from typing import Final

import msgspec
import redis

from gateway_project.lib.redis import redis_keys
from gateway_project.lib.texts import gettext_noop

WANTED_SEC: Final = 10
KEPT_SEC: Final = 10

WHY: Final = {
    "attached": gettext_noop("The service is attached: its log is where it runs."),
    "unreadable": gettext_noop("There is no log yet, or it cannot be read."),
    "unknown": gettext_noop("Its process has not sent it yet, or has ended."),
}


class LogTailFacts(msgspec.Struct, frozen=True):
    """Lines, the latest at the end; or why there are none, one of WHY."""

    lines: list[str] = []
    why: str = ""


_decode = msgspec.json.Decoder(LogTailFacts).decode
_UNKNOWN: Final = LogTailFacts(why="unknown")


def ask_for(client: redis.Redis, instance: str) -> LogTailFacts:
    """Have its process publish it for a while, and return what it has published. Raise redis.RedisError."""
    pipe = client.pipeline(transaction=False)
    pipe.set(redis_keys.WATCHED, 1, ex=WANTED_SEC)
    pipe.set(redis_keys.LOG_WANTED + instance, 1, ex=WANTED_SEC)
    pipe.get(redis_keys.LOG + instance)
    value = pipe.execute(raise_on_error=False)[-1]
    if isinstance(value, Exception):
        raise value
    try:
        return _UNKNOWN if value is None else _decode(value)
    except msgspec.MsgspecError:
        return _UNKNOWN

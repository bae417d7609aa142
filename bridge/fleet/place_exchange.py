"""Which keys hold how many places and wait for more: each web process reports it to the others, through Redis."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import msgspec
from redis import ResponseError

from bridge.pool.shares import Held, Shares
from gateway_project.lib.background import pause
from gateway_project.lib.redis import redis_keys
from gateway_project.lib.redis.redis_link import RedisLink, RedisUnavailable, Script

log = logging.getLogger(__name__)

EVERY_SEC = 0.5
LIFETIME_SEC = 3  # of what a process has reported; longer than that it may be dead


def others_since(lifetime_sec: int) -> str:
    """The end of a script: the reports of the others in a hash of `now report`, without those of the dead.

    KEYS[1] is the hash, ARGV[1] the own field, `now` the time of Redis in seconds.
    """
    return f"""
local all, others = redis.call('HGETALL', KEYS[1]), {{}}
for i = 1, #all, 2 do
  local at, report = string.match(all[i + 1], '^(%d+) (.*)$')
  if tonumber(at) < now - {lifetime_sec} then
    redis.call('HDEL', KEYS[1], all[i])
  elseif all[i] ~= ARGV[1] then
    others[#others + 1] = report
  end
end
return others
"""


# KEYS: the report of each process (hash). ARGV: this process, its report ("" for none). Reply: those of the others.
EXCHANGE = Script(f"""
local now = tonumber(redis.call('TIME')[1])
if ARGV[2] == '' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], now .. ' ' .. ARGV[2])
  redis.call('EXPIRE', KEYS[1], {10 * LIFETIME_SEC})
end
{others_since(LIFETIME_SEC)}""")

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Held).decode


class PlaceExchange:
    """Keeps the shares of one process up to date. While Redis is away each process knows of its own places alone."""

    def __init__(self, link: RedisLink, shares: Shares, process: str) -> None:
        self._link = link
        self._shares = shares
        self._process = process
        self._has_reported = False
        self._unreadable = ""

    async def follow(self) -> None:
        while True:
            await self.exchange()
            await pause(EVERY_SEC)

    async def exchange(self) -> None:
        own = self._shares.report()
        holds = bool(own.keys or own.waiting)
        # An idle process costs Redis nothing: without turns it has nothing to report, and nothing to share out.
        if not holds and not self._has_reported:
            # What the others had then would be held against the first turns after the pause.
            self._shares.update_others([])
            return
        # Empty once, after the last turn: so the others need not wait until the entry is too old.
        report = _encode(own) if holds else b""
        try:
            others = await self._link.run(EXCHANGE, [redis_keys.PLACES], [self._process, report])
            self._has_reported = holds
            self._shares.update_others(self._read(others))
        except (RedisUnavailable, ResponseError):
            # Better no figures than old ones: a place that was given back long ago would still count.
            self._shares.update_others([])

    def _read(self, reports: Iterable[bytes]) -> list[Held]:
        """Those that can be read: during an update, processes of two versions may run at once."""
        found, why = [], ""
        for report in reports:
            try:
                found.append(_decode(report))
            except msgspec.MsgspecError as exc:
                why = str(exc)
        # Once, and not at each look.
        if why and why != self._unreadable:
            log.warning("the places of another process cannot be read and do not count: %s", why)
        self._unreadable = why
        return found

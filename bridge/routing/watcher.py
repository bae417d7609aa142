"""The rows of the console as routes, read in a thread: at the start, when they change, and now and then."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

import msgspec
from django.db import Error, connection
from redis import ResponseError

from bridge.models import ModelAlias, PromptTemplate
from bridge.prompt.profile import PromptProfile, check
from bridge.routing.routes import Alias
from gateway_project.lib import database_state as database
from gateway_project.lib import redis_keys
from gateway_project.lib.query_thread import QueryThread
from gateway_project.lib.redis_link import RedisLink, RedisUnavailable

log = logging.getLogger(__name__)

POLL_SEC = 2.0
READ_SEC, GIVE_UP_SEC = 5.0, 8.0
_thread = QueryThread("routes")


class Rules(msgspec.Struct, frozen=True):
    """The rows that operators have enabled, in the order in which they count."""

    aliases: list[Alias] = []
    profiles: list[tuple[str, PromptProfile]] = []


def read_rules() -> Rules:
    """Whatever is enabled and of use. Raise django.db.Error."""
    prompts = []
    for row in PromptTemplate.objects.filter(enabled=True):
        if problems := check(row.template):  # it was fine for the release it was written with
            log.warning("the prompt for %s does not count: %s", row.pattern, " ".join(problems))
        else:
            prompts.append((row.pattern, profile_of(row)))
    return Rules([alias_of(row) for row in ModelAlias.objects.filter(enabled=True)], prompts)


def alias_of(row: ModelAlias) -> Alias:
    """The alias that a row describes."""
    return msgspec.convert(
        {
            "pattern": row.pattern,
            "lingma_model": row.lingma_model,
            "ask_mode": row.ask_mode or None,
            "tool_mode": row.tool_mode or None,
            "thinking": row.thinking == ModelAlias.Thinking.ON if row.thinking else None,
            "display_name": row.display_name,
        },
        Alias,
    )


def profile_of(row: PromptTemplate) -> PromptProfile:
    """The prompt profile that a row describes."""
    return PromptProfile(row.template, row.description_chars, row.native_calls)


class RouteWatcher:
    """Calls `changed` with the rules when they are first read and whenever they may be others. Never raises."""

    def __init__(self, link: RedisLink, every: float, changed: Callable[[Rules], None]) -> None:
        self.read = asyncio.Event()
        """Set when the rules have been read once."""
        self._link = link
        self._every = every
        self._changed = changed
        self._read_version = b""
        self._read_at = float("-inf")

    async def follow(self) -> None:
        """Look for changes until cancelled."""
        while True:
            await self.refresh()
            await asyncio.sleep(POLL_SEC)

    async def refresh(self) -> None:
        """Read the rules if they have changed, were read long ago or could not be. After an error the old ones stay."""
        version = await self._version()
        # Also without a new version: a change made while Redis was away announces itself to nobody.
        old = time.monotonic() - self._read_at >= self._every
        # None is no new version either: without Redis only the clock decides.
        if version in (None, self._read_version) and not old and not database.in_doubt():
            return
        try:
            # In a thread of its own: Django's ORM blocks, and a database that hangs must not stop the turns.
            rules = await _thread.run(_read_in_thread, GIVE_UP_SEC)
        except Error as exc:
            database.failed(exc)
            return
        database.works()
        self._read_at = time.monotonic()
        # The version from before the reading, so no change is missed.
        self._read_version = self._read_version if version is None else version
        self._changed(rules)
        self.read.set()

    async def _version(self) -> bytes | None:
        """The counter of changes; None while Redis is away."""
        try:
            # A counter, not the rules: every process reads those from the database.
            return await self._link.execute("GET", redis_keys.ROUTES) or b"0"
        except (RedisUnavailable, ResponseError):
            return None


def _read_in_thread() -> Rules:
    try:
        with database.within(READ_SEC, ahead=True):
            return read_rules()
    finally:
        connection.close()  # kept for the next one where it is of use; nothing else ends this thread's use of it

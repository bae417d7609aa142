"""The rows of the console as routes."""

from __future__ import annotations

import logging
from collections.abc import Callable

import msgspec

from bridge.fleet.table_watcher import TableWatcher
from bridge.models import ModelAlias, PromptTemplate
from bridge.prompt.profile import PromptProfile, check
from bridge.routing.routes import Alias
from gateway_project.lib.redis import redis_keys
from gateway_project.lib.redis.redis_link import RedisLink

log = logging.getLogger(__name__)

POLL_SEC = 2.0


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


def route_watcher(link: RedisLink, every: float, changed: Callable[[Rules], None]) -> TableWatcher[Rules]:
    """Calls `changed` with the rules when they are first read and whenever they may be others."""
    return TableWatcher(link, redis_keys.ROUTES, read_rules, changed, every=every, poll=POLL_SEC)

"""What a model name would become, explained for operators with the very rules the web processes use."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

import redis

from bridge.fleet import heartbeats
from bridge.models import ModelAlias, PromptTemplate
from bridge.routing.routes import AGENT_NAMES, Routes, matcher
from bridge.routing.watcher import read_rules
from gateway_project.lib.redis.redis_client import connect

Decider = Literal["model", "alias", "agent", "default"]


class Explanation(NamedTuple):
    """How a name is served. `key` answers to it; modes that are empty or None follow the settings."""

    name: str
    decided_by: Decider
    alias: ModelAlias | None
    wanted: str
    key: str
    offered: bool | None
    """Whether the account offers what is wanted; None while no instance reports what it offers."""
    ask_mode: str
    tool_mode: str
    thinking: bool | None
    prompt: PromptTemplate | None


def offered_names(redis_url: str) -> dict[str, str]:
    """The names of the models that accounts offer now, as the heartbeats list them; none while Redis is away."""
    try:
        with connect(redis_url) as client:
            return {name: key for status in heartbeats.read_all(client) for name, key in status.model_names.items()}
    except redis.RedisError:
        return {}


def unknown_names(names: Iterable[str], offered: dict[str, str]) -> list[str]:
    """Those of the names and patterns that stand for no model and no alias; none while no instance reports models."""
    if not offered:
        return []
    # Profiles decide how a prompt is put, not what a name means: they are not needed here.
    routes = Routes(read_rules().aliases, (), offered)
    served = [*offered, *AGENT_NAMES, *(alias.pattern for alias in routes.aliases)]
    wanted = ((name, name.removeprefix("!").lstrip()) for name in names)  # one that is forbidden has to be there, too
    return [name for name, bare in wanted if not routes.has(bare) and not any(map(matcher(bare), served))]


def names_of(name: str, default_model: str, offered: dict[str, str]) -> tuple[str, ...]:
    """Every name that a key for this model may be allowed or forbidden it by (`Routes.names_of`)."""
    return Routes(read_rules().aliases, (), offered, default_model).names_of(name)


def explain(name: str, default_model: str, offered: dict[str, str]) -> Explanation:
    """Explain a name, where accounts offer these names."""
    # Read anew, not from a web process: the admin explains what is in the database now.
    rules = read_rules()
    routes = Routes(rules.aliases, rules.profiles, offered, default_model)
    route = routes.of(name)
    key = routes.key_of(route.lingma_model)
    used = key or routes.key_of(default_model) or default_model
    return Explanation(
        name=name,
        decided_by=_decider(routes, routes.resolved(name)),
        alias=ModelAlias.objects.filter(pattern=route.alias).first() if route.alias else None,
        wanted=route.lingma_model,
        key=used,
        offered=None if not offered else key is not None,
        ask_mode=route.ask_mode or "",
        tool_mode=route.tool_mode or "",
        thinking=route.thinking,
        prompt=_prompt_for(used, [pattern for pattern, _ in rules.profiles]),
    )


def _decider(routes: Routes, name: str) -> Decider:
    if routes.key_of(name) is not None:
        return "model"
    if routes.of(name).alias:
        return "alias"
    return "agent" if name.lower() in AGENT_NAMES else "default"


def _prompt_for(key: str, patterns: list[str]) -> PromptTemplate | None:
    # The first match wins, as in `Routes`.
    pattern = next((each for each in patterns if matcher(each)(key)), None)
    return PromptTemplate.objects.filter(pattern=pattern).first() if pattern is not None else None

"""The turns of the demonstration, in the order of time. Pure: a seed and the end of the time decide."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from random import Random
from typing import Any, Final

from accounts.demo.cast import DemoKey
from gateway_project.lib.public_formats import PUBLIC_FORMATS

DAYS: Final = 60
HOURS: Final = DAYS * 24
MODELS: Final = {
    "claude-sonnet-4-5": ("dashscope_qwen3_coder", 38), "claude-haiku-4-5": ("dashscope_qmodel", 10),
    "gpt-5-codex": ("dashscope_qwen3_coder", 16), "org_auto": ("org_auto", 16), "gpt-5-mini": ("dashscope_qmodel", 8),
    "dashscope_qwen3_coder": ("dashscope_qwen3_coder", 7), "qwen-max": ("dashscope_qwen_max", 5),
}  # fmt: skip
SPEED: Final = {"dashscope_qwen3_coder": 1.0, "dashscope_qmodel": 0.6, "org_auto": 1.3, "dashscope_qwen_max": 2.2}
"""Of a model's first token, beside that of the first."""
ENDPOINTS: Final = {
    "claude-code": "/v1/messages", "anthropic-python": "/v1/messages", "codex": "/v1/responses",
}  # fmt: skip
PROTOCOLS: Final = {each.path: each.protocol for each in PUBLIC_FORMATS}
OUTCOMES: Final = (
    (("ok", ""), 900), (("cancelled", ""), 26), (("error", "upstream"), 9), (("error", "timeout"), 4),
    (("error", "invalid_request"), 6), (("error", "content_filter"), 3), (("error", "context_full"), 3),
    (("refused", "rpm"), 22), (("refused", "tpm"), 9), (("refused", "concurrency"), 7), (("refused", "model"), 4),
    (("refused", "overloaded"), 4), (("refused", "expired"), 1),
)  # fmt: skip
OUTAGE: Final = (("error", "upstream"), ("refused", "unavailable"))
SIZES: Final = {"rpm": 60, "tpm": 200_000, "concurrency": 4}
INSTANCES: Final = ("w1-i1", "w1-i2", "w2-i1", "w2-i2")
SESSIONS: Final = (("reused", 62), ("new", 30), ("rebuilt", 5), ("off", 3))
FIELDS: Final = (
    "request_id", "key", "protocol", "endpoint", "model", "lingma_model", "instance", "session", "stream", "status",
    "reason", "queue_ms", "first_token_ms", "total_ms", "prompt_tokens", "completion_tokens", "usage_source", "client",
    "agent", "count", "allowed", "value", "retry_after", "started_at",
)  # fmt: skip
"""`key` is the place in the list of keys; the others are columns of usage rows."""

_Weighted = tuple[tuple[Any, ...], tuple[int, ...]]
"""Values, and their weights added up: to do that for each turn takes a third of its time."""


def _added_up(weighted: Iterable[tuple[Any, int]]) -> _Weighted:
    values, weights = zip(*weighted, strict=True)
    return values, tuple(accumulate(weights))


_MODELS: Final = _added_up((name, weight) for name, (_, weight) in MODELS.items())
_OUTCOMES: Final = _added_up(OUTCOMES)
_SESSIONS: Final = _added_up(SESSIONS)


def turns(seed: int, rows: int, keys: list[DemoKey], end: datetime) -> Iterator[dict[str, Any]]:
    """So many rows of the DAYS before `end`, which is a whole hour. Two of them lie in an outage of an hour."""
    random = Random(f"turns {seed}")  # noqa: S311 - nothing is secret here
    places, weights = range(len(keys)), [key.weight for key in keys]
    number = 0
    for hour, count in enumerate(_per_hour(seed, rows, end)):
        start = end - timedelta(hours=HOURS - hour)
        seconds = sorted(random.random() * 3600 for _ in range(count))
        for second, key in zip(seconds, random.choices(places, weights, k=count), strict=True):
            number += 1
            # Milliseconds: what is finer would differ between databases.
            at = start + timedelta(milliseconds=int(second * 1000))
            yield _turn(random, seed, number, key, keys[key], at, outage=hour == HOURS - 200)


def _per_hour(seed: int, rows: int, end: datetime) -> list[int]:
    """How many rows each hour has: more by day and in the week, and more from week to week."""
    random = Random(f"hours {seed}")  # noqa: S311 - nothing is secret here
    weights = []
    for hour in range(HOURS):
        at = (end - timedelta(hours=HOURS - hour)).astimezone(UTC)
        by_day = 1.0 if 1 <= at.hour <= 11 else 0.15
        weights.append((1 + hour / HOURS) * by_day * (0.2 if at.weekday() > 4 else 1) * random.uniform(0.7, 1.3))
    counts = [0] * HOURS
    for hour in random.choices(range(HOURS), weights, k=rows):
        counts[hour] += 1
    return counts


def _turn(
    random: Random, seed: int, number: int, place: int, key: DemoKey, at: datetime, *, outage: bool
) -> dict[str, Any]:
    model = _chosen(random, _MODELS)
    status, reason = random.choice(OUTAGE) if outage else _chosen(random, _OUTCOMES)
    endpoint = ENDPOINTS.get(key.agent, "/v1/chat/completions")
    turn: dict[str, Any] = dict.fromkeys(FIELDS, "") | {
        "request_id": f"req_{seed:08x}{number:024x}", "key": place, "endpoint": endpoint, "model": model,
        "protocol": PROTOCOLS[endpoint], "stream": key.agent != "curl",
        "status": status, "reason": reason, "queue_ms": 0, "first_token_ms": None, "total_ms": random.randrange(1, 9),
        "prompt_tokens": 0, "completion_tokens": 0, "client": key.address, "agent": key.agent, "count": 1,
        "allowed": None, "value": None, "retry_after": None, "started_at": at,
    }  # fmt: skip
    return turn | (_refused(random, reason) if status == "refused" else _served(random, model, status))


def _refused(random: Random, reason: str) -> dict[str, Any]:
    if reason == "unavailable":
        return {"retry_after": 5, "count": random.randrange(1, 4)}
    if reason == "overloaded":
        waited = random.randrange(29_000, 30_500)
        return {"queue_ms": waited, "total_ms": waited + 2, "retry_after": 2}
    if reason not in SIZES:
        return {"count": random.randrange(1, 4)}
    size = SIZES[reason]
    refused: dict[str, Any] = {"count": int(random.expovariate(0.5)) + 1, "allowed": size, "value": size}
    return refused | ({"retry_after": random.randrange(1, 60)} if reason != "concurrency" else {})


def _served(random: Random, model: str, status: str) -> dict[str, Any]:
    lingma_model = MODELS[model][0]
    queue_ms = 0 if random.random() < 0.8 else int(random.expovariate(1 / 900))
    first = queue_ms + int(random.lognormvariate(6.6, 0.6) * SPEED[lingma_model])
    # A turn that failed has often not begun to answer.
    answered = status == "ok" or random.random() < 0.4
    written = int(random.lognormvariate(5.2, 1)) if answered else 0
    return {
        "lingma_model": lingma_model, "instance": random.choice(INSTANCES), "session": _chosen(random, _SESSIONS),
        "queue_ms": queue_ms, "first_token_ms": first if answered else None, "total_ms": first + written * 22,
        "prompt_tokens": int(random.lognormvariate(8, 1.1)), "completion_tokens": written,
        "usage_source": "upstream" if random.random() < 0.83 else "estimate" if status == "ok" else "partial",
    }  # fmt: skip


def _chosen(random: Random, weighted: _Weighted) -> Any:
    return random.choices(weighted[0], cum_weights=weighted[1])[0]

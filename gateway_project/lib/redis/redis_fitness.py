"""Whether a Redis server is one that rows and limits can be entrusted to: read from its INFO."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import redis

from gateway_project.lib.redis.redis_link import PROBE

OLDEST: Final = (5, 0)
"""Streams came with it."""
ADVISED: Final = (6, 2)


class Unfit(NamedTuple):
    """What is wrong with a server, and what to do. `lasting`: it does not become right by itself."""

    what: str
    advice: str
    lasting: bool = True


def version(info: Mapping[str, Any]) -> tuple[int, ...]:
    """The version of Redis, or of the one that the server stands in for; empty when it gives none."""
    return tuple(int(part) for part in str(info.get("redis_version", "")).split(".")[:2] if part.isdigit())


def faults(info: Mapping[str, Any]) -> Iterator[Unfit]:
    """All that makes the server unfit, by its INFO. What INFO leaves out is taken to be right."""
    # Servers that stand in for Redis may give no version; those are not refused for it.
    if (release := version(info)) and release < OLDEST:
        yield Unfit(f"it is version {info['redis_version']} and has no streams", "Take Redis 6.2 or newer, or Valkey.")
    if info.get("cluster_enabled"):
        yield Unfit("it is a node of a cluster", "Name a single server: the gateway needs all keys in one place.")
    # `elif`: of a replica in a cluster one reason is reported, the cluster.
    elif info.get("role") == "slave" and info.get("slave_read_only", 1):
        yield Unfit("it is a read-only replica", "Name the primary.")
    if evicts_rows(info):
        policy = info["maxmemory_policy"]
        yield Unfit(f"maxmemory-policy is {policy}: usage rows would be thrown away", "Set it to noeviction.")
    # Not for a server that evicts: for that one being full is the usual state.
    if info.get("maxmemory") and info.get("used_memory", 0) > info["maxmemory"] and not evicts(info):
        yield Unfit(f"it is full: {_mebibytes(info['used_memory'])} of {_mebibytes(info['maxmemory'])}", ROOM, False)
    # It refuses all writes while this lasts (MISCONF), and recovers by itself when the disk has room.
    if info.get("aof_last_write_status", "ok") != "ok":
        yield Unfit("it cannot write its append-only file", "Look for room on its disk.", lasting=False)


ROOM: Final = (
    "Give it more memory (maxmemory), or move what others keep in it. Usage rows leave it by themselves while the "
    "worker and the database work."
)


def evicts(info: Mapping[str, Any]) -> bool:
    """Whether a full server throws keys away. Without `allkeys`, only those with a lifetime; usage rows have none."""
    return str(info.get("maxmemory_policy", "noeviction")) != "noeviction"


def evicts_rows(info: Mapping[str, Any]) -> bool:
    """Whether a full server may throw away usage rows."""
    return bool(info.get("maxmemory")) and str(info.get("maxmemory_policy", "")).startswith("allkeys")


def refusal(client: redis.Redis) -> str:
    """Why the server takes no write now; empty when it does. Raise redis.RedisError when it does not answer."""
    try:
        client.execute_command(*PROBE)  # type: ignore[no-untyped-call]  # redis has no type for it
    except redis.ResponseError as exc:
        return str(exc)
    return ""


def _mebibytes(size: int) -> str:
    return f"{size / (1 << 20):.0f} MiB"

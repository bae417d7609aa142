"""The installation under examination, and what the first checks have found."""

from __future__ import annotations

import fcntl
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import redis

from bridge.status.instance import InstanceStatus
from gateway_project.lib.redis.redis_client import connect

if TYPE_CHECKING:
    from gateway_project.env import Environment

WAIT_SEC = 3.0


@dataclass
class InstallationState:
    """Times are Unix seconds. Later checks leave out what an earlier one has found missing."""

    env: Environment
    data_dir: Path
    redis: redis.Redis
    now: float
    started_at: float | None = None
    """Of the gateway that runs on the data directory; None when none does."""
    redis_answers: bool = False
    redis_writes: bool = True
    database_answers: bool = False
    heartbeats: list[InstanceStatus] = field(default_factory=list)
    heard_at: float = 0.0
    """When they were read: the looks before that may have taken some seconds. 0: they were not."""

    @property
    def running(self) -> bool:
        """A gateway runs here, or elsewhere on the same Redis."""
        return self.started_at is not None or bool(self.heartbeats)


def open_state(env: Environment, data_dir: Path, redis_url: str, now: float) -> InstallationState:
    """Prepare an examination. The client is the caller's to close."""
    client = connect(redis_url, WAIT_SEC)
    return InstallationState(env, data_dir, client, now, started_at=_started_at(data_dir))


def _started_at(data_dir: Path) -> float | None:
    """When the supervisor took its lock; None when nobody holds it."""
    with suppress(OSError), (data_dir / "supervisor.lock").open() as lock:
        try:
            # The supervisor holds the lock while it lives: a shared lock that can be taken means that no gateway
            # runs.
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return lock_time(data_dir)
    return None


def lock_time(data_dir: Path) -> float:
    """The supervisor empties its lock file when it starts."""
    return (data_dir / "supervisor.lock").stat().st_mtime

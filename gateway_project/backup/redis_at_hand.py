"""Redis for a command: the one that runs, or the embedded one, started for as long as the command needs it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import redis

from gateway_project import embedded_redis
from gateway_project.env import Environment, SettingError
from gateway_project.lib.redis import redis_keys
from gateway_project.lib.redis.redis_client import connect
from gateway_project.supervise.preflight import own_data_dir
from gateway_project.supervise.prepare import wait_for_redis

WAIT_SEC: Final = 5.0
END_SEC: Final = 30.0
AT_ONCE: Final = 500
KEPT: Final = frozenset({redis_keys.USAGE, redis_keys.CONTENT, redis_keys.CONTENT_BYTES})
"""What waits to be filed: it is nowhere else."""


def answers(url: str) -> bool:
    try:
        with connect(url, WAIT_SEC) as client:
            client.ping()
    except (redis.RedisError, OSError):
        return False
    return True


@contextmanager
def of_backup(env: Environment) -> Iterator[bool]:
    """Whether there is one within the block."""
    if answers(env.redis_or_embedded_url) or env.redis_url:
        yield answers(env.redis_or_embedded_url)
        return
    try:
        # Without this lock a gateway that starts just now would find its socket taken.
        with own_data_dir(env) as data_dir, embedded(env, data_dir):
            yield True
    except SettingError:
        yield False


@contextmanager
def embedded(env: Environment, data_dir: Path) -> Iterator[None]:
    """The embedded server, by itself; the data directory must be ours. Raise SettingError."""
    server = subprocess.Popen(embedded_redis.command(data_dir), stdout=subprocess.DEVNULL)  # noqa: S603 - ours
    try:
        wait_for_redis(env)
        yield
    finally:
        server.terminate()
        try:
            server.wait(END_SEC)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait(END_SEC)


def process_there(client: redis.Redis) -> str | None:
    """A process of a gateway that has given a sign of life within some seconds."""
    found = next(iter(client.scan_iter(f"{redis_keys.MODES}*", AT_ONCE)), None)
    return None if found is None else found.decode(errors="replace").removeprefix(redis_keys.MODES)


def forget(client: redis.Redis, *, everything: bool) -> None:
    """Delete what an earlier database has left: its ids would mean other keys. `everything`: also what waits."""
    names: list[Any] = []
    for name in client.scan_iter(redis_keys.EVERYTHING, AT_ONCE):
        if everything or name.decode(errors="replace") not in KEPT:
            names.append(name)
        if len(names) >= AT_ONCE:
            client.unlink(*names)
            names = []
    if names:
        client.unlink(*names)

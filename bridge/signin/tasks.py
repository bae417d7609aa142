"""The login worker's task, and what settings make of attempts: the only module of this room that reads them."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any, Final

from celery import shared_task
from celery.signals import worker_shutting_down
from django.conf import settings

from bridge.fleet.attempt_store import AttemptStore
from bridge.fleet.attempts import TASK
from bridge.lingma.dialects.a.dialect import DialectA
from bridge.pool.logins.login_store import StoreAway
from bridge.pool.options import InstanceSpec
from bridge.programs import of_version, program
from bridge.signin import runner
from bridge.signin.options import SignInOptions
from bridge.status.attempts import AttemptResult
from bridge.status.versions import WantedVersion

logger = logging.getLogger(__name__)

LONGEST_SEC: Final = 3600
_running: set[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any] | None]] = set()


def options() -> SignInOptions:
    """Of this gateway."""
    env = settings.ENV
    return SignInOptions(
        redis_url=settings.REDIS_URL,
        directory=settings.DATA_DIR / "logins",
        spec=_spec,
        model=env.default_model,
        start_sec=env.lingma_start_timeout_sec,
        person_sec=env.login_timeout_sec,
        browser=env.login_browser,
    )


def _spec(directory: Path, version: WantedVersion | None) -> InstanceSpec:
    env = settings.ENV
    found = program(env, settings.DATA_DIR) if version is None else of_version(env, settings.DATA_DIR, version)
    dialect = DialectA(env.lingma_ask_overrides)
    return InstanceSpec(
        found.upstream, dialect, found.command, found.arguments, directory,
        environment=found.environment, version=found.version, sha256=found.sha256,
    )  # fmt: skip


async def run(attempt: int) -> AttemptResult | None:
    """Run it here. Raise StoreAway."""
    store, found = AttemptStore(), options()
    await runner.clean(store, found.directory)
    return await runner.run(attempt, store, found)


# Not acknowledged late: an attempt may take longer than a message may stay unacknowledged, and its row knows more.
@shared_task(name=TASK, acks_late=False, ignore_result=True, time_limit=LONGEST_SEC, soft_time_limit=LONGEST_SEC)
def log_in(attempt: int) -> None:
    """Run an attempt, unless another process does."""
    try:
        asyncio.run(_run_here(attempt))
    except asyncio.CancelledError:
        logger.warning("attempt %d to log in ends with this process", attempt)
    except (StoreAway, TimeoutError) as exc:
        # The row still waits, or has no sign of life: the schedule hands it out again, or ends it.
        logger.warning("attempt %d to log in: the database or the disk is away: %s", attempt, exc)


async def _run_here(attempt: int) -> None:
    mine = (asyncio.get_running_loop(), asyncio.current_task())
    _running.add(mine)
    try:
        await run(attempt)
    finally:
        _running.discard(mine)


@worker_shutting_down.connect
def end_all(**_: Any) -> None:
    """A worker that stops waits for its tasks, and nobody waits so long for it."""
    for loop, task in list(_running):
        if task is not None:
            loop.call_soon_threadsafe(task.cancel)

"""Attempts to run in a test: over services of their own, with a real database and Redis."""

import asyncio
import sys
from contextlib import asynccontextmanager

from asgiref.sync import sync_to_async

from bridge.fleet import attempts
from bridge.fleet.attempt_store import AttemptStore
from bridge.models import Login, LoginAttempt
from bridge.pool.options import InstanceSpec
from bridge.signin import runner
from bridge.signin.options import SignInOptions
from bridge.status.attempts import AttemptReason
from bridge.status.logins import LoginKind
from gateway_project.lib.secrets.secrets_at_rest import Secret
from tests.bridge.lingma.service import DIALECT
from tests.bridge.pools import ROOT


def settings(redis_url, directory, *arguments, **options):
    """Of a gateway whose service has these arguments."""

    def spec(place, version=None):
        command = (sys.executable, "-m", "bridge.simulator")
        return InstanceSpec("simulator", DIALECT, command, arguments, place, environment={"PYTHONPATH": ROOT})

    options = {"start_sec": 30.0, "person_sec": 60.0, "answer_sec": 60.0, "stable_sec": 0.3} | options
    return SignInOptions(redis_url, directory, spec, **options)


@sync_to_async
def login(kind="browser", credentials=b"", label="main", **columns):
    secret = Secret.of(credentials) if credentials else None
    return Login.objects.create(label=label, kind=kind, credentials=secret, **columns)


@sync_to_async
def begin(login, way=None, reason=AttemptReason.OPERATOR, pasted=b""):
    return attempts.begin(login, LoginKind(way or login.kind), reason, pasted)


async def attempt_of(login):
    return await LoginAttempt.objects.filter(login=login).afirst()


async def until(login, condition):
    """The attempt, as soon as the condition holds for it."""
    async with asyncio.timeout(60):
        while True:
            found = await attempt_of(login)
            if condition(found):
                return found
            await asyncio.sleep(0.05)


async def ran(login, options, way=None, reason=AttemptReason.OPERATOR, pasted=b""):
    """An attempt from its beginning to its end, and the login after it."""
    attempt, _ = await begin(login, way, reason, pasted)
    await runner.run(attempt.pk, AttemptStore(), options)
    await attempt.arefresh_from_db()
    await login.arefresh_from_db()
    return attempt


@asynccontextmanager
async def running(login, options, way=None):
    attempt, _ = await begin(login, way)
    task = asyncio.create_task(runner.run(attempt.pk, AttemptStore(), options))
    try:
        yield attempt
        async with asyncio.timeout(60):
            await task
    finally:
        task.cancel()
        await asyncio.wait({task})
    await attempt.arefresh_from_db()
    await login.arefresh_from_db()

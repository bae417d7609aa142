"""An attempt to log in, run and followed at a terminal."""

from __future__ import annotations

import asyncio
import queue
import signal
import sys
import threading
from collections.abc import Callable
from typing import Final

from asgiref.sync import sync_to_async
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError

from bridge.fleet import attempts
from bridge.models import LoginAttempt
from bridge.pool.logins.login_store import StoreAway
from bridge.signin import tasks
from bridge.status.attempts import AttemptResult, AttemptState

LOOK_SEC: Final = 0.5


class _Broken(Exception):
    """It cannot be run here; the message says why."""


def follow(attempt: LoginAttempt, say: Callable[[str], object]) -> None:
    """Run it here, or wait until who runs it has ended. Raise CommandError when it fails."""
    try:
        asyncio.run(_follow(attempt, say))
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise CommandError("cancelled") from None
    except _Broken as exc:
        raise CommandError(f"{attempt.login.label}: {exc}.") from None
    attempt.refresh_from_db()
    result = AttemptResult(attempt.result)
    if attempt.state != AttemptState.DONE:
        words = f"{result.label}: {attempt.detail}" if attempt.detail else result.label
        raise CommandError(f"{words}. {result.advice}".strip())


async def _follow(attempt: LoginAttempt, say: Callable[[str], object]) -> None:
    _end_with_terminal()
    running = asyncio.create_task(tasks.run(attempt.pk))
    seen, lines = None, _Lines()
    try:
        while attempt.ended_at is None:
            if running.done():
                await _after(running)
            await attempt.arefresh_from_db(fields=["state", "url", "detail", "ended_at"])
            if (now := (attempt.state, attempt.url, attempt.detail)) != seen and attempt.ended_at is None:
                seen = now
                _show(attempt, say)
            if attempt.state == AttemptState.NEEDS_PERSON and (line := lines.next()):
                try:
                    await sync_to_async(attempts.paste)(attempt, line)
                except ValidationError as exc:
                    say(" ".join(exc.messages))
            await asyncio.sleep(LOOK_SEC)
    except (asyncio.CancelledError, _Broken):
        # Before it notices itself: then it has failed.
        await sync_to_async(attempts.cancel)(attempt)
        raise
    finally:
        running.cancel()
        await asyncio.wait({running}, timeout=30)


def _end_with_terminal() -> None:
    """A closed terminal ends the attempt as ^C does; else nobody could begin another for a minute."""
    task = asyncio.current_task()
    for each in (signal.SIGHUP, signal.SIGTERM):
        if task is not None and signal.getsignal(each) is not signal.SIG_IGN:  # as under nohup
            asyncio.get_running_loop().add_signal_handler(each, task.cancel)


async def _after(running: asyncio.Task[object]) -> None:
    """Another process runs it, or did: there may be no worker that notices its end. Raise _Broken."""
    match running.exception():
        case None:
            await sync_to_async(attempts.end_lost)()
        case StoreAway():
            raise _Broken("the database is away") from None
        case TimeoutError():
            raise _Broken("the disk with DATA_DIR/logins does not answer") from None
        case OSError() as exc:
            raise _Broken(f"DATA_DIR/logins cannot be used: {exc.filename}: {exc.strerror}") from None
        case bug:
            raise bug


def _show(attempt: LoginAttempt, say: Callable[[str], object]) -> None:
    # It is run here, and waits for no worker.
    words = "begins" if attempt.state == AttemptState.WAITING else AttemptState(attempt.state).label
    say(f"{words}{f': {attempt.detail}' if attempt.detail else ''}")
    if attempt.url:
        say(f"Log in at {attempt.url}")
        say("If that browser does not reach this machine: paste here the address at which it ends.")


class _Lines:
    """Of standard input, read where it holds nobody up; a thread is made when the first is asked for."""

    def __init__(self) -> None:
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def next(self) -> str:
        """One that has come; "" without."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._read, daemon=True)
            self._thread.start()
        try:
            return self._lines.get_nowait().strip()
        except queue.Empty:
            return ""

    def _read(self) -> None:
        for line in sys.stdin:
            self._lines.put(line)

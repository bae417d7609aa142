"""From the spool of a machine without a worker to Redis, in a thread: a worker elsewhere files what lies there."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Final

import redis

from accounts.ledger.ledger import UNCONFIRMED_SEC, Ledger
from accounts.ledger.spool import hold, is_empty
from gateway_project.lib import disk
from gateway_project.lib.redis import redis_fitness, redis_keys
from gateway_project.lib.redis.redis_client import connect

logger = logging.getLogger(__name__)

EVERY_SEC: Final = 2.0
REDIS_WAIT_SEC: Final = 2.0
PIECE: Final = 100
"""Lines of one write."""
PAUSE_SEC: Final = 0.02
"""Between two writes: turns go on meanwhile, and 5,000 rows a second are more than a worker files."""
MOST_AHEAD: Final = 10_000
"""Entries in the stream, beyond which rows are safer in their file: nobody files them now."""
MOST_FILES: Final = 50
LAST_SEC: Final = 8.0
"""How long the end of the process may wait for what is left."""


class SpoolSender:
    """Sends spool files to Redis until it is stopped. Several at once, and a worker that files them, do no harm.

    A file is deleted when Redis has had all its lines for long enough to have them on its disk. So a crash in between
    sends them twice, and filing recognises them by their request ids.
    """

    def __init__(self, redis_url: str, ledger: Ledger, spool: Path, *, settle: float = UNCONFIRMED_SEC) -> None:
        """`settle`: seconds until Redis has its latest writes on its disk."""
        self._url = redis_url
        self._ledger = ledger
        self._spool = spool
        self._settle = settle
        self._stopping = threading.Event()
        # What a rest waits for; at last, when the process ends, nothing cuts it short.
        self._hurry = self._stopping
        # A daemon: a disk that hangs must not keep the interpreter from ending. Rows stay in their file then.
        self._thread = threading.Thread(target=self._run, name="spool-sender", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Send what waits now, if Redis is there, and end. Waits LAST_SEC at most."""
        self._stopping.set()
        self._thread.join(LAST_SEC)

    def _run(self) -> None:
        # At once: files of before a restart wait already.
        self._send()
        while not self._stopping.wait(EVERY_SEC):
            self._send()
        # Once more after the stop, for rows that came during the last wait.
        self._hurry = threading.Event()
        self._send()

    def _send(self) -> None:
        try:
            self._send_files()
        except redis.RedisError:
            pass  # the mode "redis" says so, and the files stay
        except OSError as exc:
            disk.fails("sending usage rows", exc)
        except Exception:  # an edge: nobody else would see it, and the next round is tried
            logger.exception("the spool cannot be sent")
        else:
            disk.works("sending usage rows")

    def _send_files(self) -> None:
        spooled = self._ledger.spooled
        if is_empty(self._spool):
            if self._ledger.spooled == spooled:  # else something is in a file only now
                self._ledger.spooled = 0
            return
        self._ledger.spooled = spooled or 1  # of a process before this one
        with connect(self._url, REDIS_WAIT_SEC) as client, ExitStack() as held:
            # Before a file is moved: while Redis is away, or full, all lines gather in one.
            if redis_fitness.refusal(client):
                return
            server = _run_of(client)
            files = hold(self._spool, MOST_FILES, held)
            counts = [self._send_file(client, file) for file in files]
            if not files or None in counts or self._hurry.wait(self._settle) or _run_of(client) != server:
                return
            for file in files:
                Path(file.name).unlink(missing_ok=True)
            logger.info("%d usage rows that waited in files are in Redis", sum(filter(None, counts)))

    def _send_file(self, client: redis.Redis, file: BinaryIO) -> int | None:
        """How many lines were sent; None when the stop came first."""
        count = 0
        for lines in _pieces(file):
            while _waiting(client) >= MOST_AHEAD:
                if self._hurry.wait(EVERY_SEC):
                    return None
            pipeline = client.pipeline(transaction=False)
            for line in lines:
                pipeline.xadd(redis_keys.USAGE, {"row": line})
            pipeline.execute()
            count += len(lines)
            if self._hurry.wait(PAUSE_SEC):
                return None
        return count


def _pieces(file: BinaryIO) -> Iterator[list[bytes]]:
    lines = (stripped for line in file if (stripped := line.rstrip(b"\n")))
    while piece := list(islice(lines, PIECE)):
        yield piece


def _waiting(client: redis.Redis) -> int:
    waiting: Any = client.xlen(redis_keys.USAGE)
    return int(waiting)


def _run_of(client: redis.Redis) -> str:
    """Another one after each start: a server that was killed meanwhile may have lost its latest writes."""
    facts: Any = client.info("server")
    return str(facts["run_id"])

"""Turns whose process died while they ran: each gets its row, with what was known when it began."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import redis

from accounts.ledger import filing
from accounts.ledger.row import UsageRow
from accounts.models import OpenTurn
from gateway_project.lib.redis import redis_keys

logger = logging.getLogger(__name__)

# Not at each flush: it asks the database which processes have open turns.
EVERY_SEC: Final = 2.5
MISSED_SEC: Final = 5.0
"""How long a sign of life is missed before its process counts as dead: after Redis was away, the next may take that
long.
"""
BATCH: Final = 500

Signs = Mapping[str, float | None]
"""Of each process with open turns: since when its oldest one runs, unix seconds. None: it gives no sign of life."""

_decode = msgspec.json.Decoder(UsageRow).decode


class Orphans:
    """Finds them for one worker. Closing the same twice is harmless, as filing a row is."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._missed: dict[str, float] = {}
        self._overdue: dict[str, dict[str, float | None]] = {}
        """Of processes that live: turns that their sign of life leaves out, and the first sign since each was found."""
        self._looked_at = float("-inf")
        self._unreadable: set[str] = set()
        """Open turns that a worker of another version may be able to file."""

    def signs(self, client: redis.Redis) -> Signs:
        """The signs of life now; none when it is too early to look again. Raise redis.RedisError.

        To be read before a flush: what its process has ended by now has a row, which that flush files.
        """
        now = self._clock()
        if now < self._looked_at + EVERY_SEC:
            return {}
        if now > self._looked_at + MISSED_SEC:  # Redis or the database was away: nobody was missed meanwhile
            self._missed.clear()
        runs = list(OpenTurn.objects.order_by().values_list("run", flat=True).distinct())
        values: Any = client.mget([redis_keys.RUN + run for run in runs]) if runs else []
        self._looked_at = now
        self._overdue = {run: turns for run, turns in self._overdue.items() if run in runs}
        return {run: None if value is None else float(value) for run, value in zip(runs, values, strict=True)}

    def close(self, signs: Signs) -> int:
        """After a whole flush: file a row for each turn that nobody runs any more; return how many."""
        closed, now = 0, self._clock()
        for run, oldest in signs.items():
            turns = OpenTurn.objects.filter(run=run)
            if oldest is not None:
                self._missed.pop(run, None)
                turns = turns.filter(pk__in=self._lost(run, oldest))
            elif now < self._missed.setdefault(run, now) + MISSED_SEC:
                continue
            while lines := dict(turns.exclude(pk__in=self._unreadable).values_list("pk", "row")[:BATCH]):
                # What cannot be filed stays open, and would be read for ever.
                if not (done := self._file(lines)):
                    break
                closed += done
        if closed:
            logger.warning("%d turns have ended without a row; each has one now, as orphaned", closed)
        return closed

    def _file(self, lines: Mapping[str, str]) -> int:
        rows = {}
        for id_, line in lines.items():
            try:
                row = _decode(line)
            except msgspec.MsgspecError as exc:
                self._leave_open(id_, exc)
                continue
            # Nobody knows what it has spent, so nothing is said of tokens.
            row.status, row.reason, row.usage_source = "error", filing.ORPHANED, ""
            rows[row.request_id] = row
        turns, _ = filing.file_batch(rows, {}, {})
        return len(turns)

    def _leave_open(self, id_: str, why: Exception) -> None:
        """It costs only itself; named once, as it is left out from now on."""
        if len(self._unreadable) < BATCH:
            logger.warning("turn %s has ended without a row and stays open, as it cannot be read: %s", id_, why)
            self._unreadable.add(id_)

    def _lost(self, run: str, oldest: float) -> list[str]:
        """Its process lives and does not run them any more, and yet there is no row: they were lost there."""
        turns = OpenTurn.objects.filter(run=run, started_at__lt=datetime.fromtimestamp(oldest, UTC))
        overdue = list(turns.order_by("started_at").values_list("pk", flat=True)[:BATCH])
        known = self._overdue.get(run, {})
        # A request is read first, and its turn opened then: a sign from in between knows nothing of a turn that began
        # before it. The first sign that is read after the turn was found may be such a one. Another is newer.
        self._overdue[run] = {id_: (known[id_] or oldest) if id_ in known else None for id_ in overdue}
        return [id_ for id_ in overdue if known.get(id_) not in (None, oldest)]

"""Refusals: a row, a line in the log and a count, and a flood of them costs no more than one a minute."""

from __future__ import annotations

import asyncio
import time

from accounts.ledger.ledger import Ledger
from accounts.ledger.row import UsageRow
from bridge.telemetry import metrics
from bridge.telemetry.turn_log import refusal_line

GATHER_SEC = 1.0  # how long refusals are gathered before they are filed
MOST = 4096
MOST_IDS = 100
"""Of the refusals that share a row, so many are found by their own id; and so many ids wait to be filed:"""
MOST_WAITING = 1_000
MINUTE = 60

Kind = tuple[object, ...]


def kind_of(row: UsageRow) -> Kind:
    """All that usage is summed by, the limit's scope, and the minute. Each of them has few values.

    Not the model that was asked for: clients choose that word, and each would make a row of its own.
    """
    return (
        row.api_key_id, row.team_id, row.protocol, row.endpoint, row.agent, row.status, row.reason, row.limit_scope,
        int(row.started_at) // MINUTE,
    )  # fmt: skip


class Refusal:
    """Those of one kind; `filed` of them are in the ledger."""

    __slots__ = ("filed", "hint", "row")

    def __init__(self, row: UsageRow, hint: str) -> None:
        self.row = row
        self.hint = hint
        self.filed = 0


class Refusals:
    """The refusals of one process. Those without a known key (its id is 0) leave no row."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._refusals: dict[Kind, Refusal] = {}
        self._ids: dict[str, str] = {}
        """Refusals that share a row, since the last filing: their ids, and those of the rows."""
        self._noted = asyncio.Event()

    def note(self, row: UsageRow, hint: str) -> bool:
        """Count one; its row stands for all of its kind in this minute, with the id of the first.

        True when this one is the first: its row will be filed, a second later at the soonest.
        """
        metrics.refused(row)
        kind = kind_of(row)
        gathered = self._refusals.get(kind)
        if gathered is not None:
            # The same row object as the one that was filed: it is filed again with the same id and a higher count.
            gathered.row.count += 1
            if gathered.row.model != row.model:
                gathered.row.model = ""  # nobody's, since no table may count the others as the first one's
            gathered.row.value = max(gathered.row.value or 0, row.value or 0) or None
            if row.api_key_id and gathered.row.count <= MOST_IDS and len(self._ids) < MOST_WAITING:
                self._ids[row.request_id] = gathered.row.request_id
        # Beyond the bound a refusal is counted in the metrics alone.
        elif len(self._refusals) < MOST:
            self._refusals[kind] = Refusal(row, hint)
        self._noted.set()
        return gathered is None and kind in self._refusals

    async def follow(self) -> None:
        """File what was noted, until cancelled."""
        while True:
            await self._noted.wait()
            # The wait is what makes a flood cheap: all refusals of one kind in a second are one write.
            await asyncio.sleep(GATHER_SEC)
            await self.file()

    async def file(self) -> None:
        """File what has been noted since the last time. A row that was filed is filed again with its higher count."""
        # Before the loop: what is noted while a row is written sets it again.
        self._noted.clear()
        over = int(time.time()) // MINUTE
        # A copy, since entries are deleted below and `note` adds some during the awaits.
        for kind, refusal in list(self._refusals.items()):
            if int(refusal.row.started_at) // MINUTE < over:
                del self._refusals[kind]
            more = refusal.row.count - refusal.filed
            if not more:
                continue
            refusal.filed += more
            refusal_line(refusal.row, refusal.hint, more)
            if refusal.row.api_key_id:
                await self._ledger.write(refusal.row)
        if self._ids:
            ids, self._ids = self._ids, {}
            await self._ledger.share(ids)

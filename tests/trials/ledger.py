"""What the gateway has booked, held against what clients saw."""

import asyncio
import json
import sqlite3
from collections import defaultdict
from contextlib import closing
from dataclasses import dataclass, field

import redis

from accounts.ledger.row import AMENDMENT, OPENING

QUERY = "select model, request_id, status, reason from accounts_usage where model like 'trial-%'"
REFUSALS = "select reason, sum(count) from accounts_usage where status = 'refused' group by reason order by reason"
PATIENCE = 40.0
"""Seconds in which all rows must have come to the database."""


@dataclass
class Account:
    """How the rows compare with the turns. Each list holds numbers of turns."""

    rows: int = 0
    lost: list = field(default_factory=list)  # the client saw an end, and there is no row
    doubled: list = field(default_factory=list)
    disagree: list = field(default_factory=list)  # the row says something else than the client saw
    unbooked: list = field(default_factory=list)  # a turn that the client saw begin and not end has no row
    late: int = 0  # rows that were still on their way; they are not lost


def rows_of(stage):
    """All rows in the database, by model."""
    found = defaultdict(list)
    for model, request_id, status, reason in read(stage):
        found[model].append((request_id, status, reason))
    return found


def refusals(stage):
    """How many requests the rows of refusals stand for, by reason."""
    return {reason: int(count) for reason, count in read(stage, REFUSALS)}


def read(stage, query=QUERY):
    if stage.postgres is not None:
        import psycopg

        with psycopg.connect(stage.postgres.url, autocommit=True, connect_timeout=10) as connection:
            return connection.execute(query).fetchall()
    with closing(sqlite3.connect(stage.data_dir / "gateway.sqlite3", timeout=20)) as connection:
        return connection.execute(query).fetchall()


def waiting(stage):
    """The models of rows that are not in the database yet."""
    files = (stage.data_dir / "spool").glob("usage.jsonl*")
    lines = [line for path in files for line in path.read_bytes().split(b"\n") if line]
    with stage.redis() as client:
        lines += [entry[b"row"] for _, entry in client.xrange("lgw:usage")]
    rows = [line for line in lines if not line.startswith((AMENDMENT, OPENING))]
    return [model for line in rows if (model := json.loads(line)["model"]).startswith("trial-")]


async def settled(stage):
    """Wait until nothing is on its way; what still is when patience ends."""
    deadline = asyncio.get_running_loop().time() + PATIENCE
    left, calm = [], 0
    while asyncio.get_running_loop().time() < deadline:
        try:
            left = await asyncio.to_thread(waiting, stage)
            calm = 0 if left else calm + 1
        except (redis.RedisError, OSError):
            calm = 0
        if calm > 1:  # a row may be between two places
            return []
        await asyncio.sleep(0.5)
    return left


async def compare(stage, turns):
    """Read the ledger, and say what is wrong with it."""
    late = set(await settled(stage))
    rows = await asyncio.to_thread(rows_of, stage)
    account = Account(rows=sum(map(len, rows.values())), late=len(late - set(rows)))
    for turn in turns:
        if turn.model in rows or turn.model not in late:
            judge(account, turn, rows.get(turn.model, []))
    return account


def judge(account, turn, rows):
    """Hold one turn against its rows."""
    if len(rows) > 1:
        account.doubled.append(turn.number)
    if not rows:
        if turn.outcome in {"ok", "broken", "wrong"}:
            account.lost.append(turn.number)
        elif turn.outcome in {"cut", "hung_up"}:
            account.unbooked.append(turn.number)
        return
    request_id, status, _ = rows[0]
    if turn.request_id not in {"", request_id} or (turn.outcome, status) in WRONG:
        account.disagree.append(turn.number)


WRONG = {
    ("ok", "error"), ("ok", "cancelled"), ("ok", "refused"), ("broken", "ok"), ("broken", "refused"),
}  # fmt: skip

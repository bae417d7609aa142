"""Does the ledger add up: what `manage.py reconcile_usage` says, and whether each request id has one row."""

import asyncio
import json
import subprocess
import sys
from collections import Counter

from tests.bench.targets import ROOT
from tests.trials import ledger

SETTLED_SEC = 120.0


def balance(stage):
    """The exit code of `reconcile_usage`, and what it says."""
    done = subprocess.run(
        [sys.executable, "manage.py", "reconcile_usage", "--json"],
        cwd=ROOT, env=stage.environment(), capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode in {0, 1}, done.stderr
    return done.returncode, json.loads(done.stdout)


async def settled(stage):
    """The balance when nothing is on its way and no turn is open any more."""
    async with asyncio.timeout(SETTLED_SEC):
        while True:
            await ledger.settled(stage)
            code, found = await asyncio.to_thread(balance, stage)
            if not found["open"]:
                return code, found
            await asyncio.sleep(1)


def faults(turns, rows, code, found):
    """What is wrong with the rows and the balance, in words. `rows`: of the whole ledger, as `ledger.read` has them."""
    ids = Counter(id_ for _, id_, _, _ in rows)
    # Each id that a client has seen, but for refusals, which share a row.
    seen = [turn.request_id for turn in turns if turn.request_id and turn.outcome != "refused"]
    missing, doubled = [id_ for id_ in seen if not ids[id_]], [id_ for id_, times in ids.items() if times > 1]
    orphaned = sum(reason == "orphaned" for *_, reason in rows)
    rules = (
        (missing, f"{len(missing)} ids without a row: {missing[:3]}"),
        (doubled, f"{len(doubled)} ids with several rows: {doubled[:3]}"),
        (code or not found["adds_up"] or found["difference"], f"reconcile_usage says {found}"),
        (found["admitted"] != found["closed"] + found["orphaned"], f"not closed: {found}"),
        (found["orphaned"] != orphaned, f"{orphaned} orphaned rows, {found['orphaned']} counted"),
    )
    return [words for wrong, words in rules if wrong]

"""The ledger adds up after every harm that its parts can meet, in one run under load."""

import asyncio
import json
import subprocess
import sys
from collections import Counter, defaultdict

import pytest

from tests.bench.targets import ROOT
from tests.trials import harms, ledger
from tests.trials.load import Load, Shape
from tests.trials.stage import KEYS, Setup, Stage, Template

TURNS = 1_000
SETTLED_SEC = 90.0
HARMS = (
    harms.kill("web"),
    harms.kill_often("worker", 3, 1.3),  # one of them is in the middle of a flush
    harms.pause("redis", 5),
    harms.lock_sqlite(5),
    harms.kill("redis"),
    harms.both(harms.kill("web", 1), harms.kill("worker")),
)


@pytest.fixture
def stage(migrated):
    with Template(migrated) as template:
        made = Stage(Setup(web=2, instances=2), template)
        asyncio.run(made.__aenter__())
        try:
            yield made
        finally:
            asyncio.run(made.__aexit__())


def command(stage, *words):
    """What a command prints, and its exit code."""
    done = subprocess.run(
        [sys.executable, "manage.py", *words],
        cwd=ROOT, env=stage.environment(), capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode in {0, 1}, done.stderr
    return done.returncode, done.stdout


def balance(stage):
    code, printed = command(stage, "reconcile_usage", "--json")
    return code, json.loads(printed)


async def harmed(stage):
    """A thousand turns and all harms; the turns as the clients saw them, and the balances that were seen meanwhile."""
    load, balances = Load(stage.port, KEYS, Shape(slow_share=7, hang_up_share=9)), []
    load.start()
    try:
        await asyncio.sleep(2)
        for harm in HARMS:
            await harm(stage)
            await asyncio.sleep(1)
            balances.append(await asyncio.to_thread(balance, stage))
        async with asyncio.timeout(120):
            while len(load.turns) < TURNS:
                await asyncio.sleep(0.1)
    finally:
        await load.stop()
    return load.turns, balances


async def settled(stage):
    """The balance when nothing is on its way and no turn is open any more."""
    async with asyncio.timeout(SETTLED_SEC):
        while True:
            await ledger.settled(stage)
            code, found = await asyncio.to_thread(balance, stage)
            if not found["open"]:
                return code, found
            await asyncio.sleep(1)


@pytest.mark.e2e
@pytest.mark.timeout(300)
def test_every_turn_has_one_row_after_harms(stage):
    turns, balances = asyncio.run(harmed(stage))
    code, found = asyncio.run(settled(stage))
    rows = defaultdict(list)
    for model, request_id, status, reason in ledger.read(stage):
        rows[model].append((request_id, status, reason))
    outcomes = Counter(turn.outcome for turn in turns)
    assert outcomes["ok"] > TURNS / 2, outcomes
    assert min(outcomes["hung_up"], outcomes["refused"], outcomes["failed"] + outcomes["cut"]) > 0, outcomes
    # Each id that a client has seen, but for refusals, which share a row.
    ids = Counter(id_ for found in rows.values() for id_, _, _ in found)
    seen = [turn.request_id for turn in turns if turn.request_id and turn.outcome != "refused"]
    assert [id_ for id_ in seen if ids[id_] != 1] == []
    assert [id_ for id_, times in ids.items() if times > 1] == []
    assert [(code, each) for code, each in balances if code] == []
    assert (code, found["adds_up"], found["difference"]) == (0, True, 0)
    assert found["admitted"] == found["closed"] + found["orphaned"]
    assert found["orphaned"] == sum(reason == "orphaned" for each in rows.values() for _, _, reason in each) > 0

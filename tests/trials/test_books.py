"""The ledger adds up after the harms that its parts can meet, briefly. `make trials ARGS="--only books"` is longer."""

import asyncio
from collections import Counter

import pytest

from tests.trials import books, harms, ledger
from tests.trials.load import Load, Shape
from tests.trials.stage import KEYS, Setup, Stage, Template

TURNS = 200
HARMS = (
    harms.both(harms.kill("web", 1), harms.kill("worker")),
    harms.pause("redis", 1.5),
    harms.lock_sqlite(1.5),
    harms.kill("redis"),
)


@pytest.fixture
def stage(migrated):
    with Template(migrated) as template:
        made = Stage(Setup(web=2, instances=1), template)
        asyncio.run(made.__aenter__())
        try:
            yield made
        finally:
            asyncio.run(made.__aexit__())


async def harmed(stage):
    """Some turns and all harms; the turns as the clients saw them, and the balance in the midst of it."""
    load = Load(stage.port, KEYS, Shape(slow_share=7, hang_up_share=9))
    load.start()
    try:
        async with asyncio.timeout(60):
            while len(load.turns) < TURNS // 2:  # turns run in both web processes when one is killed
                await asyncio.sleep(0.05)
        for harm in HARMS:
            await harm(stage)
            await asyncio.sleep(0.5)
        meanwhile = await asyncio.to_thread(books.balance, stage)
        async with asyncio.timeout(120):
            while len(load.turns) < TURNS:
                await asyncio.sleep(0.1)
    finally:
        await load.stop()
    return load.turns, meanwhile


@pytest.mark.e2e
@pytest.mark.timeout(300)
def test_every_turn_has_one_row_after_harms(stage):
    turns, (code, meanwhile) = asyncio.run(harmed(stage))
    assert (code, meanwhile["adds_up"]) == (0, True), meanwhile
    outcomes = Counter(turn.outcome for turn in turns)
    assert min(outcomes["ok"], outcomes["hung_up"], outcomes["refused"]) > 0, outcomes
    code, found = asyncio.run(books.settled(stage))
    assert books.faults(turns, ledger.read(stage), code, found) == []
    assert found["orphaned"] > 0

"""Some of the trials, briefly and on one gateway, and the pieces of the bench. `make trials` runs them all."""

import asyncio
from dataclasses import replace

import pytest

from tests.trials import harms
from tests.trials.catalogue import BY_NAME, TRIALS
from tests.trials.doors import Door
from tests.trials.ledger import Account, judge
from tests.trials.load import CHAT, Shape, Turn
from tests.trials.run import Result, growths, misses, play
from tests.trials.stage import Setup, Stage, Template

GENEROUS = 30.0  # s: what is asserted here is that nothing is lost; how fast it is, `make trials` says
BRIEF = Shape(clients=8, limited=False)


@pytest.fixture(scope="module")
def stage(migrated):
    """A gateway with two instances that all trials here share."""
    with Template(migrated) as template:
        made = Stage(Setup(instances=2), template)
        asyncio.run(made.__aenter__())
        try:
            yield made
        finally:
            asyncio.run(made.__aexit__())


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("name", "harm"),
    [
        ("kill-instance-of-3", harms.both(harms.kill("instance"), harms.kill("redis"))),
        ("kill-web", harms.kill("web")),
    ],
    ids=["instance and Redis", "web process"],
)
def test_turns_survive_kills_neither_lost_nor_doubled(stage, name, harm):
    brief = {"harm": harm, "shape": BRIEF, "warm": 1, "seconds": 1, "calm": 1, "well": GENEROUS, "lines": 500}
    result = asyncio.run(play(replace(BY_NAME[name], **brief), stage))
    assert result.outcomes["ok"] > 20, result
    assert (result.lost, result.doubled, result.disagree, result.wrong) == (0, 0, 0, 0), result
    assert result.failed == 0, result


def turn(outcome, request_id="one"):
    made = Turn(1, CHAT, streamed=True, key="plain", slow=False, hangs_up=False)
    made.outcome, made.request_id = outcome, request_id
    return made


@pytest.mark.parametrize(
    ("outcome", "rows", "what"),
    [
        ("ok", [], "lost"),
        ("broken", [], "lost"),
        ("cut", [], "unbooked"),
        ("ok", [("one", "ok", ""), ("two", "error", "")], "doubled"),
        ("ok", [("one", "error", "upstream")], "disagree"),
        ("ok", [("two", "ok", "")], "disagree"),
        ("broken", [("one", "ok", "")], "disagree"),
        ("ok", [("one", "ok", "")], ""),
        ("hung_up", [("one", "cancelled", "")], ""),
        ("failed", [], ""),
    ],
)
def test_a_turn_is_held_against_its_rows(outcome, rows, what):
    account = Account()
    judge(account, turn(outcome), rows)
    found = [name for name in ("lost", "unbooked", "doubled", "disagree") if getattr(account, name)]
    assert found == ([what] if what else [])


def test_each_missed_bound_is_named():
    trial = BY_NAME["kill-redis"]
    assert misses(trial, Result("x", outcomes={"ok": 1})) == []
    told = misses(trial, Result("x", failed=1, lost=2, broken=3, cut=4, late_rows=5, well=9.5, slot=20, lines=100))
    assert told == [
        "failed 1", "lost 2", "broken 3", "cut 4", "rows late 5", "well after 9.5 s", "slot after 20 s", "lines 100",
        "nothing answered",
    ]  # fmt: skip


MIB = 1 << 20


@pytest.mark.parametrize(
    ("last", "told"),
    [
        ({7: (140 * MIB, 30), 8: (140 * MIB, 33)}, []),
        ({7: (140 * MIB, 30), 8: (144 * MIB, 30)}, ["1049 bytes a turn"]),
        ({7: (100 * MIB, 36), 8: (140 * MIB, 30)}, ["6 files more"]),
        ({7: (140 * MIB, 30), 9: (140 * MIB, 30)}, ["not weighed"]),
    ],
)
def test_growth_between_last_two_marks_is_named(last, told):
    first = {7: (120 * MIB, 30), 8: (120 * MIB, 30)}
    before = {7: (140 * MIB, 30), 8: (140 * MIB, 30)}
    assert growths(Result("x", weights=[(1_000, first), (2_000, before), (10_000, last)])) == told
    assert growths(Result("x", weights=[(1_000, first)])) == ["not weighed"]


def test_every_trial_has_a_name_of_its_own():
    assert len(BY_NAME) == len(TRIALS)


async def echo(reader, writer):
    while data := await reader.read(100):
        writer.write(data)
    writer.close()


async def greeted(port):
    """A connection that an echo has come through."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"hello")
    assert await reader.readexactly(5) == b"hello"
    return reader, writer


async def test_a_door_passes_cuts_and_swallows():
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with asyncio.timeout(20), server, Door(server.sockets[0].getsockname()[1]) as door:
        reader, writer = await greeted(door.port)
        door.cut()
        with pytest.raises(ConnectionResetError):
            await reader.read(1)
        writer.close()
        reader, writer = await greeted(door.port)
        door.swallow()
        writer.write(b"lost")
        door.heal()
        _, other = await greeted(door.port)
        assert not reader._buffer  # what was swallowed does not come later
        for each in (writer, other):
            each.close()

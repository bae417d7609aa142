"""What is kept of a turn for whoever asks why it ended as it did."""

import asyncio
import json
from contextlib import suppress

import msgspec
import pytest

from accounts.ledger.trace import MOST_BYTES, Trace, decoded, encoded, shown
from bridge.chat.errors import ConnectionLost, GatewayError, Unavailable
from bridge.routing.routes import Alias, Routes
from bridge.turn.record import TurnRecord
from bridge.turn.trace import trace_of
from tests.bridge.chats import Reading, chat, hanging_up, once, replying, request, say
from tests.bridge.lingma.service import finish
from tests.bridge.pools import attached


async def traced(engine, request, caller_id=1):
    """The trace of a turn, however it ends."""
    reading = Reading(engine, request, caller_id)
    with suppress(GatewayError):
        await reading.to_end()
    return reading.record, trace_of(reading.record, request, engine, 5)


async def test_times_come_one_after_the_other(new_engine, new_service):
    _, trace = await traced(await new_engine(await new_service(replying("Hello"))), request("Hi"))
    assert 5 == trace.admitted <= trace.placed <= trace.asked


async def test_session_says_why_it_goes_on(new_engine, new_service, sessions):
    engine = await new_engine(await new_service(replying("Hello")), sessions=sessions)
    _, first = await traced(engine, request("Hi" * 500))
    _, second = await traced(engine, request("Hi" * 500, "Hello", "Bye"))
    _, third = await traced(engine, request("Hey", "You", "There"))
    assert [each.session for each in (first, second, third)] == ["first", "continued", "unknown"]
    assert (second.sent, second.whole, second.holder) == (3, 1008, "w1-i1")
    assert first.sent >= first.whole == 1000


async def test_session_that_is_turned_off_says_so(new_engine, new_service):
    _, trace = await traced(await new_engine(await new_service(replying("Hello"))), request("Hi"))
    assert trace.session == "turned_off"


async def test_lost_attempt_is_told_with_its_instance(new_engine, new_service):
    engine = await new_engine(await new_service(once(hanging_up, replying("Hello"))))
    record, trace = await traced(engine, request("Hi"))
    assert record.status == "ok"
    assert record.is_remarkable
    assert trace.lost == [("w1-i1", "upstream")]


async def test_instances_not_chosen_say_why(new_engine, new_service):
    going_on = asyncio.Event()

    async def on_ask(peer, params):
        await going_on.wait()
        await say(peer, params, "Hello")
        await peer.push(finish(params["requestId"]))

    services = [await new_service(on_ask) for _ in range(3)]
    engine = await new_engine(*services, limit=2, most=8)
    turns = [Reading(engine, request(f"Hi {number}")) for number in range(5)]
    async with asyncio.timeout(30):
        while sum(each.in_flight for each in engine.pool.instances) < 5:
            await asyncio.sleep(0.01)
    going_on.set()
    for turn in turns:
        await turn.to_end()
    traces = [trace_of(turn.record, request("Hi"), engine, 0) for turn in turns]
    assert traces[0].others == {"w1-i2": "turn", "w1-i3": "turn"}
    assert traces[1].others == {"w1-i1": "busier 1", "w1-i3": "turn"}
    assert traces[4].others == {"w1-i1": "full 2/2", "w1-i3": "turn"}


@pytest.mark.parametrize(("number", "others"), [(1, {}), (2, {"w1-i2": "turn"}), (3, {"w1-i2": "turn"})])
async def test_resized_pool_leaves_those_passed_over(new_engine, new_service, number, others):
    services = [await new_service(replying("Hello")) for _ in range(3)]
    engine = await new_engine(*services[:2])
    reading = Reading(engine, request("Hi"))
    await reading.to_end()
    engine.pool.upkeep.spec_of = lambda number: attached(*services)[number - 1]
    engine.pool.upkeep.resize(number)
    async with asyncio.timeout(30):
        while len(engine.pool.instances) != number:
            await asyncio.sleep(0.01)
    assert trace_of(reading.record, request("Hi"), engine, 0).others == others


async def test_refused_turn_has_all_instances_as_they_are(new_engine, new_service):
    engine = await new_engine(await new_service(replying("Hello")), queue_timeout=0.1)
    engine.pool.end_turns("Over.")
    record, trace = await traced(engine, request("Hi"))
    assert (record.status, trace.placed, trace.error) == ("refused", None, "Over.")
    assert list(trace.others) == ["w1-i1"]


@pytest.mark.parametrize(
    ("name", "decided"),
    [
        ("claude-x", ("alias", "claude-*", "qwen")),
        ("old", ("alias_default", "old", "gone")),
        ("qwen", ("model", "", "")),
        ("Qwen 3", ("model", "", "")),
        ("agent", ("agent", "", "")),
        ("Agent-latest[1m]", ("agent", "", "")),
        ("what", ("default", "", "")),
    ],
)
async def test_model_says_who_chose_it(new_engine, new_service, name, decided):
    engine = await new_engine(await new_service(replying("Hello")))
    offered = {"qwen": "qwen", "qwen 3": "qwen", "org_auto": "org_auto"}
    engine.routes = Routes([Alias("claude-*", "qwen"), Alias("old", "gone")], (), offered, "org_auto")
    _, trace = await traced(engine, request("Hi", model=name))
    assert (trace.named_by, trace.alias, trace.wanted) == decided


async def test_error_text_is_kept_without_secrets(new_engine, new_service):
    message = "vendor said no, token=abcdefghijklmnop " + "x" * 2000
    engine = await new_engine(await new_service(replying(statusCode=500, reason=message)))
    record, trace = await traced(engine, request("A secret prompt"))
    assert record.status == "error"
    assert "abcdefghijklmnop" not in trace.error
    assert len(trace.error) <= 300
    assert "A secret prompt" not in encoded(trace)


async def test_reply_cut_by_an_error_is_remarkable(new_engine, new_service):
    engine = await new_engine(await new_service(replying("Hello", statusCode=500)))
    record, _ = await traced(engine, request("Hi", stream=False))
    assert record.is_remarkable


def test_usual_turn_is_not_remarkable():
    assert not TurnRecord(status="ok").is_remarkable
    assert TurnRecord().is_remarkable
    failed = TurnRecord()
    failed.failed(Unavailable("None is ready.", param=("messages", 0)))
    assert (failed.error, failed.error_param) == ("None is ready.", "messages.0")
    failed.note_lost(ConnectionLost("Lost."), 70)
    assert (failed.lost, failed.lost_ms) == ([("", "upstream")], [70])


def test_trace_never_exceeds_its_column():
    others = {f"a-node-with-a-long-name-w1-i{number}": "login_required" for number in range(64)}
    trace = Trace(
        others=others, error=shown("错" * 3000), lost=[("i" * 64, "upstream")] * 3, lost_at=[9] * 3, param="p" * 300
    )
    line = encoded(trace)
    assert len(line.encode()) <= MOST_BYTES
    assert decoded(line).more == 64 - len(decoded(line).others)
    assert len(encoded(Trace(alias="别" * 128, wanted="名" * 128, error="错" * 300)).encode()) <= MOST_BYTES


def test_trace_is_read_as_it_was_written():
    trace = Trace(admitted=3, others={"w1-i2": "full 8/8"}, lost=[("w1-i1", "upstream")], session="lost", lost_at=[9])
    assert decoded(encoded(trace)) == trace
    assert json.loads(encoded(Trace(admitted=3))) == {"admitted": 3}
    assert decoded("") is decoded("{broken") is decoded('{"session": "of a later version"}') is None


async def test_trace_of_a_turn_is_small(new_engine, new_service, sessions):
    engine = await new_engine(await new_service(replying("Hello")), sessions=sessions)
    done = await chat(engine, request("Hi"))
    assert len(encoded(trace_of(done.record, request("Hi"), engine, 0))) < 300
    assert msgspec.json.decode(encoded(trace_of(done.record, request("Hi"), engine, 0)))["session"] == "first"

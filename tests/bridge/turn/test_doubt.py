"""What a turn leaves behind when the service exits, over a simulator process."""

import asyncio
import os
import signal
from time import time

import msgspec
import pytest

from bridge.chat.errors import CrashingKey, CrashingPrompt
from bridge.chat.events import TextDelta
from bridge.chat.request import Tool, ToolChoice
from bridge.images.pipeline import ImageOptions, ImagePipeline
from bridge.pool.crashes import BUDGET_SEC, MOST_OF_KEY, Crashes, CrashRecord
from bridge.prompt.profile import DEFAULT_PROFILE
from bridge.turn import doubt
from bridge.turn.doubt import Doubt
from bridge.turn.engine import Engine, EngineOptions
from bridge.turn.plan import PlanOptions, plan_of
from bridge.turn.record import TurnRecord
from tests.bridge.chats import Reading, chat, request
from tests.bridge.pools import in_state, running, simulator

LEFT = "[[sim: chunks=100 delay_ms=20 ignore_stop {how}]] left"
POISON = "[[sim: fault=crash after=0]] poison"
POISONED = Tool("list_dir", POISON)


@pytest.fixture
async def engine(stack, tmp_path):
    pool = await stack.enter_async_context(running([simulator(tmp_path, "--login=auto", "--first-ms=0")]))
    numbers = iter(range(1, 1_000_000))
    engine = Engine(pool, None, ImagePipeline(ImageOptions()), EngineOptions(), lambda: f"id-{next(numbers)}")
    stack.push_async_callback(engine.wait_for_background)
    return engine


@pytest.fixture
def patient(monkeypatch):
    """Exits come long enough after their client has gone for a busy machine to see it go, and are waited for."""
    monkeypatch.setattr(doubt, "GIVEN_UP_SEC", 5.0)


async def left_turn(engine, text, *, turns=1, **more):
    """A turn whose question has left."""
    reading = Reading(engine, request(text), **more)
    async with asyncio.timeout(30):
        while engine.pool.in_flight < turns:
            await asyncio.sleep(0.01)
    return reading


def kill(engine):
    os.kill(engine.pool.statuses()[0].pid, signal.SIGKILL)


def blamed(engine, key=1):
    """By prompt of this key, whether an exit weighs for it."""
    return [bool(record.blamed) for name, record in engine.crashes.records.items() if name.startswith(f"{key}:")]


@pytest.mark.parametrize(
    ("how", "until", "weighs"),
    [
        ("first_ms=1500 fault=crash after=0", None, True),
        ("first_ms=0 fault=crash after=75", TextDelta, False),
        ("first_ms=1500 fault=crash after=5", None, False),  # the text comes when its client has gone
    ],
    ids=["nothing", "text", "text later"],
)
async def test_exit_weighs_for_those_who_left_unanswered(engine, patient, how, until, weighs):
    reading = await left_turn(engine, LEFT.format(how=how))
    if until is not None:
        await reading.until(until)
    await reading.hang_up()
    await engine.wait_for_background()
    assert blamed(engine) == [weighs]


async def test_exit_in_company_weighs_for_nobody_who_left(engine, patient):
    other = await left_turn(engine, "[[sim: first_ms=4000 text=fine]] other", caller_id=2)
    reading = await left_turn(engine, LEFT.format(how="first_ms=1500 fault=crash after=0"), turns=2)
    await reading.hang_up()
    await other.to_end()
    await engine.wait_for_background()
    assert (blamed(engine), blamed(engine, 2), other.text) == ([False], [], "fine")


async def test_kill_from_outside_weighs_for_nobody(engine):
    left = await left_turn(engine, LEFT.format(how="first_ms=60000"))
    await left.hang_up()
    kill(engine)
    await engine.wait_for_background()
    await in_state(engine.pool, "ready")
    streaming = await left_turn(engine, LEFT.format(how="first_ms=0"))
    await streaming.until(TextDelta)
    kill(engine)
    await streaming.to_end()
    await engine.wait_for_background()
    assert blamed(engine) == [False, False]


async def test_prompt_killed_twice_is_proven_all_the_same(engine):
    for _ in range(2):
        reading = await left_turn(engine, LEFT.format(how="first_ms=0"))
        await reading.until(TextDelta)
        kill(engine)
        await reading.to_end()
        await engine.wait_for_background()
        await in_state(engine.pool, "ready")
    assert [record.proven for record in engine.crashes.records.values()] == [True]
    assert blamed(engine) == [True]


async def test_hang_up_on_an_answer_ends_doubt(engine):
    reading = await left_turn(engine, "[[sim: chunks=100 delay_ms=20 first_ms=1500]] wait")
    kill(engine)
    await reading.until(TextDelta)
    assert engine.crashes.records
    await reading.hang_up()
    await engine.wait_for_background()
    assert engine.crashes.records == {}


async def test_client_that_leaves_after_answer_is_unwatched(engine):
    reading = Reading(engine, request("[[sim: text=fine]] x"))
    await reading.to_end()
    await reading.hang_up()
    assert not engine._tasks


async def test_tools_are_part_of_the_prompt(engine):
    with pytest.raises(CrashingPrompt):
        await chat(engine, request("Hello", tools=(POISONED,), tooling=True, stream=False))
    assert (await chat(engine, request("Hello"))).record.status == "ok"  # and nothing is washed off by it
    with pytest.raises(CrashingPrompt):
        await chat(engine, request("Hello", tools=(POISONED,), tooling=True, stream=False))
    assert [record.exits for record in engine.crashes.records.values()] == [2]


TOOLS = {"tools": (Tool("list_dir"), Tool("read")), "tooling": True}
WAYS = [
    {},
    TOOLS,
    {**TOOLS, "tools": (Tool("list_dir", "of a folder"), Tool("read"))},
    {**TOOLS, "tools": (Tool("list_dir", schema=b"{}"), Tool("read"))},
    {**TOOLS, "tools": (Tool("list_dir", custom=True), Tool("read"))},
    {**TOOLS, "tool_choice": ToolChoice("required")},
    {**TOOLS, "tool_choice": ToolChoice("named", "read")},
    {**TOOLS, "parallel_tool_calls": False},
    {"reply_schema": b"{}"},
    {"reply_schema": b'{"type":"object"}'},
]


def name_of(engine, fields, *, model="", **plan):
    chat_request = request("Hello", **fields)
    planned = plan_of(chat_request, engine.routes.of("org_auto"), PlanOptions())
    return Doubt(Crashes(), 1, chat_request, msgspec.structs.replace(planned, **plan), model).name()


def doubt_of(engine, crashes):
    chat_request = request("Hello")
    return Doubt(crashes, 1, chat_request, plan_of(chat_request, engine.routes.of("org_auto"), PlanOptions()), "")


@pytest.mark.parametrize("others", [0, 1], ids=["the only one", "one of two"])
async def test_cleared_prompt_is_in_doubt_for_nobody(engine, others):
    crashes = Crashes()
    asked, waits = doubt_of(engine, crashes), doubt_of(engine, crashes)
    for number, name in enumerate([asked.name(), "1:another"][: others + 1]):
        crashes.exited(name, f"w1-i1:{number}", alone=True, weighs=True, tells=True, now=time())
    asked.recall()
    waits.recall()
    assert asked.care == waits.care > 0
    asked.answered()
    waits.recall()
    assert waits.care == 0


async def test_turn_that_waits_for_a_verdict_is_open(engine):
    """Its client gets signs of life, and with the first a request id: a row has to stand behind it."""
    name = name_of(engine, {}, model=engine.routes.of("org_auto").lingma_model)
    engine.crashes.exited(name, "w1-i1:1", alone=True, weighs=True, tells=True, now=time())
    assert await engine.retest_locks.begin(name, "another turn")
    record, opened = TurnRecord(), asyncio.Event()
    record.on_admitted = opened.set
    asking = asyncio.create_task(engine.run(request("Hello"), 1, record, lambda batch: asyncio.sleep(0)))
    async with asyncio.timeout(20):
        await opened.wait()
    assert (record.queued, record.instance) == (True, "")
    await engine.retest_locks.end(name, "another turn")
    await asking
    assert record.status == "ok"


async def test_doubt_brought_along_outlives_a_look(engine):
    brought = doubt_of(engine, Crashes())
    brought.care = 1
    brought.recall()
    assert brought.care == 1


async def test_prompts_differ_by_all_that_models_see(engine):
    names = [name_of(engine, fields) for fields in WAYS]
    names += [name_of(engine, {}, model="qwen"), name_of(engine, {}, mode="agent")]
    names += [name_of(engine, TOOLS, emulates=False), name_of(engine, TOOLS, emulates=False, forwards=True)]
    profile = msgspec.structs.replace(DEFAULT_PROFILE, native_calls=not DEFAULT_PROFILE.native_calls)
    names.append(name_of(engine, {}, profile=profile))
    assert len(set(names)) == len(names)


async def test_fields_no_model_sees_make_no_difference(engine):
    silent = {
        "stream": False,
        "max_tokens": 4,
        "stop": ("x",),
        "call_id_prefix": "toolu_",
        "tool_notation": "anthropic",
    }
    assert name_of(engine, silent) == name_of(engine, {})


async def test_refusal_says_when_it_is_over(engine, monkeypatch):
    monkeypatch.setattr("bridge.turn.doubt.time", lambda: 1000.4)
    for number in range(MOST_OF_KEY):
        engine.crashes.records[f"1:{number}"] = CrashRecord(
            1, False, 900 + number, *[f"w1-i1:{number}"] * 2, 900 + number
        )
    with pytest.raises(CrashingKey) as caught:
        await chat(engine, request("anything"))
    assert caught.value.retry_after == BUDGET_SEC - 100

"""Turns over a simulator process: every way it can say the same, and what it says when it does not take a question."""

import asyncio
import json

import pytest

from bridge.chat.errors import UpstreamFailed
from bridge.chat.events import TokenUsage
from bridge.images.pipeline import ImageOptions, ImagePipeline
from bridge.lingma.process import log_tail
from bridge.pool.options import InstanceOptions
from bridge.turn.engine import Engine, EngineOptions
from tests.bridge.chats import Reading, chat, request
from tests.bridge.pools import running, simulator

TEXT = "通义灵码 says hello, twice: hello"
WAYS = [
    "ids=int", "ids=string", "ids=none", "frame=binary", "merge=3", "split=7", "split=1", "fragment=5", "ping",
    "duplicate", "field=content", "empty=1", "full_answer=only", "full_answer=empty", "think=hm", "steps=false",
    "context_usage", "title=false", "session=new", "fault=F4", "fault=F5", "fault=F12", "fault=F13", "fault=F14",
    "frame=binary merge=4 fragment=9 ping ids=string",
]  # fmt: skip


@pytest.fixture
def numbers():
    return iter(range(1, 1_000_000))


@pytest.fixture
async def new_engine(stack, tmp_path, numbers):
    async def new_engine(*arguments, **options):
        source = simulator(tmp_path, "--login=auto", *arguments)
        pool = await stack.enter_async_context(running([source], instances=InstanceOptions(**options)))
        return Engine(pool, None, ImagePipeline(ImageOptions()), EngineOptions(), lambda: f"id-{next(numbers)}")

    return new_engine


def saying(way):
    return request(f'[[sim: text="{TEXT}" size=4 first_ms=0 delay_ms=0 usage="7,2" {way}]]')


@pytest.mark.parametrize(
    ("flags", "ways"),
    [((), WAYS), (("--ack-gate",), [way for way in WAYS if "merge" not in way and "F14" not in way])],
    ids=["at its own pace", "waiting for acknowledgements"],
)
async def test_client_hears_the_same_however_pushed(new_engine, flags, ways):
    engine = await new_engine(*flags)
    texts = {way: (await chat(engine, saying(way))).text for way in ways}
    assert texts == dict.fromkeys(ways, TEXT)
    assert (engine.pool.instances[0].late_acks, engine.pool.statuses()[0].restarts) == (0, 0)


async def test_many_turns_at_once_are_not_mixed_up(new_engine):
    engine = await new_engine(limit=8)
    readings = [
        Reading(engine, request(f'[[sim: text="{number} {TEXT}" size=2 first_ms=0 delay_ms=1]]')) for number in range(8)
    ]
    texts = [(await reading.to_end()).text for reading in readings]
    assert texts == [f"{number} {TEXT}" for number in range(8)]


async def test_every_push_gets_exactly_one_acknowledgement(new_engine, tmp_path):
    engine = await new_engine("--record")
    await chat(engine, saying("ids=string"))
    pushed, answered = [], None
    async with asyncio.timeout(30):
        while answered != pushed:
            lines = [json.loads(line) for line in (tmp_path / "received.jsonl").read_text().splitlines()]
            pushed = [line["id"] for line in lines if line["direction"] == "out" and "method" in line and "id" in line]
            answered = [line["id"] for line in lines if line["direction"] == "in" and "method" not in line]
            await asyncio.sleep(0.01)
    assert len(answered) == len(set(answered)) > 5


async def test_log_usage_is_reported(new_engine, monkeypatch):
    monkeypatch.setattr(log_tail, "WAITS", (*log_tail.WAITS, 0.5, 2.0))  # the service may have no time meanwhile
    engine = await new_engine()
    for way in ("usage_line=before", "usage_line=after usage_late_ms=10"):
        assert (await chat(engine, saying(way))).end.usage == TokenUsage(7, 2, "upstream")
    assert (await chat(engine, saying("usage_line=never"))).end.usage.source == "estimate"


@pytest.mark.parametrize("way", ["fault=F30", 'ask_error="no quota"', "ask_refused"])
async def test_rejected_question_is_an_error_at_once(new_engine, way):
    reading = Reading(await new_engine(ask_kind="request"), saying(way))
    with pytest.raises(UpstreamFailed, match="did not take the question"):
        await reading.to_end()
    assert reading.record.status == "error"

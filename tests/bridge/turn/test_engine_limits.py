"""What the gateway enforces and counts itself: stop sequences, tokens, the queue, usage."""

import asyncio
import json
import re

import pytest

from bridge.chat.errors import ConnectionLost, Overloaded, Unavailable
from bridge.chat.events import (
    Failed,
    Finished,
    FinishReason,
    KeepAlive,
    Started,
    TextDelta,
    ThinkingDelta,
    TokenUsage,
    ToolCallEnded,
    ToolCallStarted,
)
from bridge.chat.request import Tool, ToolChoice
from bridge.chat.tokens import estimate
from bridge.turn import places
from bridge.turn.accounting import AROUND_CALL
from bridge.turn.record import TurnRecord
from tests.bridge.chats import Reading, chat, going_for_long, replying, request, say
from tests.bridge.lingma.service import finish


async def test_stop_sequence_over_several_chunks_ends_turn(new_service, new_engine):
    service = await new_service(lambda peer, params: say(peer, params, "One E", "N", "D two"))
    engine = await new_engine(service)
    done = await chat(engine, request("Hi", stop=("END", "\n\nUser:")))
    assert (done.text, done.end.reason, done.end.stop_sequence) == ("One ", FinishReason.STOP_SEQUENCE, "END")
    assert (done.record.status, done.record.reason, engine.pool.in_flight) == ("ok", "stop_sequence", 0)
    assert done.end.usage.output_tokens == estimate("One ")
    assert await service.got("chat/stop")


async def test_stop_sequence_beginning_is_sent_at_the_end(new_service, new_engine):
    service = await new_service(replying("One", " EN"))
    done = await chat(await new_engine(service), request("Hi", stop=("END",)))
    assert (done.text, done.end.reason, done.end.stop_sequence) == ("One EN", FinishReason.STOP, None)
    assert "chat/stop" not in service.methods()


async def test_the_limit_of_tokens_ends_the_turn(new_service, new_engine):
    service = await new_service(lambda peer, params: say(peer, params, *["word "] * 20))
    done = await chat(await new_engine(service), request("Hi", max_tokens=5))
    assert (done.end.reason, done.record.reason) == (FinishReason.LENGTH, "length")
    assert estimate(done.text) == done.end.usage.output_tokens == 5
    assert await service.got("chat/stop")


async def test_withheld_end_beyond_limit_is_length_too(new_service, new_engine):
    done = await chat(
        await new_engine(await new_service(replying("abcE", "N"))), request("Hi", stop=("END",), max_tokens=1)
    )
    assert (done.text, done.end.reason) == ("abcE", FinishReason.LENGTH)


async def test_keepalives_pass_while_text_is_withheld(new_service, new_engine):
    service = await new_service(lambda peer, params: say(peer, params, "E"))
    reading = Reading(await new_engine(service, keepalive=0.01), request("Hi", stop=("END",)))
    await reading.until(KeepAlive)
    await service.open_peers[0].push(finish(service.asks()[0]["requestId"]))
    assert (await reading.to_end()).text == "E"


async def test_waiting_turn_gets_keepalives_then_its_place(new_service, new_engine):
    engine = await new_engine(await new_service(replying("Hello")), most=1, keepalive=0.01)
    lease = engine.pool.lease()
    reading = Reading(engine, request("Hi"))
    await reading.until(KeepAlive, times=2)
    assert reading.batches == [[KeepAlive()], [KeepAlive()]]
    assert reading.record.waits
    lease.release()
    done = await reading.to_end()
    assert not done.record.waits
    started = next(event for event in done.events if isinstance(event, Started))
    assert (done.text, started.queue_ms > 0, done.record.queue_ms) == ("Hello", True, started.queue_ms)


async def test_turns_that_wait_are_served_in_their_order(new_service, new_engine):
    service = await new_service(replying("x"))
    engine = await new_engine(service, most=1)
    lease = engine.pool.lease()
    readings = [Reading(engine, request(f"question {number}")) for number in range(5)]
    while engine.pool.waiting < 5:
        await asyncio.sleep(0)
    lease.release()
    for reading in readings:
        await reading.to_end()
    assert [params["questionText"] for params in service.asks()] == [f"question {number}" for number in range(5)]


async def test_a_turn_that_waits_too_long_is_refused(new_service, new_engine):
    engine = await new_engine(await new_service(), most=1, queue_timeout=0.02)
    engine.pool.lease()
    reading = Reading(engine, request("Hi"))
    with pytest.raises(Overloaded) as raised:
        await reading.to_end()
    assert 1 <= raised.value.retry_after <= 30
    assert (reading.record.status, reading.record.reason, engine.pool.waiting) == ("refused", "overloaded", 0)
    assert reading.record.queue_ms > 0


class LostElsewhere:
    """Another machine, which has room as soon as the turn waits, and loses it."""

    has_room_for_doubt = False

    def __init__(self, engine):
        self.engine = engine

    @property
    def has_room(self):
        return bool(self.engine.pool.waiting)

    def holds(self, affinity):
        return False

    async def run(self, found, left, signs=0, exits=None):
        raise ConnectionLost("lost there")


class GivesBack:
    """Another machine, which has the turn for a while, and gives it back; by then there is a place here."""

    SERVED_SEC = 0.3

    def __init__(self, engine, *, at_once):
        self.engine, self.at_once = engine, at_once
        self.lease = engine.pool.lease()

    @property
    def has_room(self):
        return self.lease is not None and (self.at_once or bool(self.engine.pool.waiting))

    def holds(self, affinity):
        return False

    async def run(self, found, left, signs=0, exits=None):
        lease, self.lease = self.lease, None
        await asyncio.sleep(self.SERVED_SEC)
        lease.release()
        return False


@pytest.mark.parametrize("at_once", [True, False])
async def test_turn_given_back_takes_a_free_place(new_service, new_engine, monkeypatch, at_once):
    monkeypatch.setattr(places, "LOOK_SEC", 0.01)
    engine = await new_engine(await new_service(replying("x")), most=1, queue_timeout=600)
    record = TurnRecord()
    async with asyncio.timeout(60):
        other = GivesBack(engine, at_once=at_once)
        began = asyncio.get_running_loop().time()
        await engine.run(request("Hi"), 1, record, lambda batch: asyncio.sleep(0), elsewhere=other)
        took = asyncio.get_running_loop().time() - began
    # The time that it was there is no waiting.
    assert (record.status, record.queue_ms / 1000 < took - GivesBack.SERVED_SEC + 0.01) == ("ok", True)


class FullAtFirst(GivesBack):
    """It has no place at the first time, as is known a moment later."""

    def __init__(self, engine):
        self.engine, self.asked = engine, 0

    @property
    def has_room(self):
        return not self.asked or bool(self.engine.pool.waiting)

    async def run(self, found, left, signs=0, exits=None):
        self.asked += 1
        return self.asked > 1


async def test_turn_waits_for_others_without_instances(new_service, new_engine, monkeypatch):
    monkeypatch.setattr(places, "LOOK_SEC", 0.01)
    engine = await new_engine(await new_service(going_for_long), queue_timeout=600)
    other = FullAtFirst(engine)
    engine.pool.has_room_elsewhere = lambda: other.has_room
    await engine.pool.stop()
    async with asyncio.timeout(60):
        await engine.run(request("Hi"), 1, TurnRecord(), lambda batch: asyncio.sleep(0), elsewhere=other)
    assert (other.asked, engine.pool.waiting) == (2, 0)


async def test_turn_lost_after_the_queue_says_so(new_service, new_engine, monkeypatch):
    monkeypatch.setattr(places, "LOOK_SEC", 0.01)
    engine = await new_engine(await new_service(), most=1)
    engine.pool.lease()
    record = TurnRecord()
    with pytest.raises(ConnectionLost, match="lost there"):
        await engine.run(request("Hi"), 1, record, lambda batch: asyncio.sleep(0), elsewhere=LostElsewhere(engine))
    assert (record.reason, record.queue_ms > 0, engine.pool.waiting) == ("upstream", True, 0)


async def test_refusal_after_keepalive_is_the_ending(new_service, new_engine):
    engine = await new_engine(await new_service(), most=1, queue_timeout=1.5, keepalive=0.01)
    engine.pool.lease()
    done = await chat(engine, request("Hi"))
    assert {type(event) for event in done.events} == {KeepAlive, Failed}
    assert (type(done.end.error), done.record.status) == (Overloaded, "refused")


async def test_a_full_queue_refuses_at_once(new_service, new_engine):
    engine = await new_engine(await new_service(), most=1, waiting=0)
    engine.pool.lease()
    with pytest.raises(Overloaded):
        await chat(engine, request("Hi"))


async def test_hang_up_in_the_queue_leaves_it(new_service, new_engine):
    engine = await new_engine(await new_service(), most=1)
    lease = engine.pool.lease()
    reading = Reading(engine, request("Hi"))
    while not engine.pool.waiting:
        await asyncio.sleep(0)
    await reading.hang_up()
    assert (engine.pool.waiting, reading.record.status, reading.record.usage_source) == (0, "cancelled", "")
    lease.release()
    assert engine.pool.in_flight == 0


async def test_turn_awaits_nothing_without_an_instance(new_service, new_engine):
    service = await new_service()
    engine = await new_engine(service)
    await engine.pool.stop()
    reading = Reading(engine, request("Hi"))
    with pytest.raises(Unavailable):
        await reading.to_end()
    assert (reading.record.status, reading.record.reason) == ("refused", "unavailable")


def log_usage(tmp_path, params, prompt, completion):
    figures = {"request_id": params["requestId"], "prompt_tokens": prompt, "completion_tokens": completion}
    with (tmp_path / "logs" / "lingma.log").open("a") as file:
        file.write(f"[TOKEN_USAGE]: {json.dumps(figures)}\n")


async def test_service_figures_are_reported(new_service, new_engine, with_log, tmp_path):
    async def on_ask(peer, params):
        log_usage(tmp_path, params, 495, 62)
        await replying("Hello")(peer, params)

    engine = await new_engine(with_log(await new_service(on_ask)))
    done = await chat(engine, request("Hi"))
    assert done.end.usage == TokenUsage(495, 62, "upstream")
    record = done.record
    assert (record.prompt_tokens, record.completion_tokens, record.usage_source) == (495, 62, "upstream")


async def test_late_figures_delay_only_the_ending(new_service, new_engine, with_log, tmp_path):
    service = await new_service(replying("Hello"))
    reading = Reading(await new_engine(with_log(service)), request("Hi"))
    await reading.until(TextDelta)
    assert not any(isinstance(event, Finished) for event in reading.events)
    log_usage(tmp_path, service.asks()[0], 495, 62)
    assert (await reading.to_end()).end.usage == TokenUsage(495, 62, "upstream")


async def test_a_log_without_figures_leaves_an_estimate(new_service, new_engine, with_log):
    done = await chat(await new_engine(with_log(await new_service(replying("Hello")))), request("Hi"))
    assert (done.end.usage.source, done.end.usage.output_tokens) == ("estimate", estimate("Hello"))


async def test_estimates_learn_from_the_figures(new_service, new_engine, with_log, tmp_path):
    async def on_ask(peer, params):
        log_usage(tmp_path, params, 20, 8)
        await replying("Hello")(peer, params)

    service = await new_service(on_ask)
    engine = await new_engine(with_log(service))
    for _ in range(60):
        await chat(engine, request("Hi"))
    service.on_ask = replying("Hello")
    usage = (await chat(engine, request("Hi"))).end.usage
    assert (usage.source, usage.output_tokens) == ("estimate", 8)


async def test_a_corrected_reply_costs_what_both_attempts_cost(new_service, new_engine, with_log, tmp_path):
    async def on_ask(peer, params):
        log_usage(tmp_path, params, 100, 10)
        await replying("No.")(peer, params)

    engine = await new_engine(with_log(await new_service(on_ask)))
    fields = {"tools": (Tool("read"),), "tooling": True, "tool_choice": ToolChoice("required")}
    done = await chat(engine, request("Hi", **fields))
    assert done.end.usage == TokenUsage(200, 20, "upstream")


MUST_CALL = {"tools": (Tool("read"),), "tooling": True, "tool_choice": ToolChoice("required")}


async def correcting(new_service, new_engine, with_log, tmp_path, *, first, then=()):
    """A turn whose first reply is corrected: `first` of the two is logged at once, `then` while the second comes."""
    asked = []

    async def on_ask(peer, params):
        asked.append(params)
        for number in (first, then)[len(asked) - 1]:
            log_usage(tmp_path, asked[number], 100 + number, 10)
        await replying("No.")(peer, params)

    engine = await new_engine(with_log(await new_service(on_ask)))
    done = await chat(engine, request("Hi", **MUST_CALL))
    return engine, asked, done


async def test_counted_correction_awaits_nothing(new_service, new_engine, with_log, tmp_path):
    _, _, done = await correcting(new_service, new_engine, with_log, tmp_path, first=[0], then=[1])
    assert (done.end.usage, done.record.awaited) == (TokenUsage(201, 20, "upstream"), None)


async def test_first_reply_counts_though_logged_late(new_service, new_engine, with_log, tmp_path):
    _, _, done = await correcting(new_service, new_engine, with_log, tmp_path, first=[], then=[0, 1])
    assert (done.end.usage, done.record.awaited) == (TokenUsage(201, 20, "upstream"), None)


async def test_half_of_corrected_turn_is_no_figure(new_service, new_engine, with_log, tmp_path):
    engine, asked, done = await correcting(new_service, new_engine, with_log, tmp_path, first=[], then=[1])
    assert done.end.usage.source == done.record.usage_source == "estimate"
    told = asyncio.get_running_loop().create_future()
    engine.pool.late_usages.expect(done.record.awaited, lambda *tokens: told.set_result(tokens))
    log_usage(tmp_path, asked[0], 100, 10)
    async with asyncio.timeout(30):
        assert await told == (201, 20)


class Elsewhere:
    """Another machine, which runs what was lost here."""

    has_room = has_room_for_doubt = True

    def holds(self, affinity):
        return False

    async def run(self, found, left, signs=0, exits=None):
        return True


async def test_turn_that_moves_awaits_nothing_here(new_service, new_engine, with_log, monkeypatch):
    monkeypatch.setattr(places, "LOOK_SEC", 0.01)
    engine = await new_engine(with_log(await new_service(going_for_long)))
    record = TurnRecord()
    await engine.run(request("Hi"), 1, record, lambda batch: asyncio.sleep(0), elsewhere=Elsewhere())
    assert (record.lost, record.awaited) == ([("w1-i1", "upstream")], None)


async def test_estimates_of_text_learn_nothing_of_calls(new_service, new_engine, with_log, tmp_path):
    async def on_ask(peer, params):
        log_usage(tmp_path, params, 20, 400)
        await calling("read", path="x" * 99)(peer, params)

    service = await new_service(on_ask)
    engine = await new_engine(with_log(service))
    for _ in range(4):
        await chat(engine, request("Hi", **TOOLS))
    service.on_ask = replying("Hello and more")
    usage = (await chat(engine, request("Hi", stop=("more",), **TOOLS))).end.usage
    assert (usage.source, usage.output_tokens) == ("estimate", estimate("Hello and "))


TOOLS = {"tools": (Tool("read"),), "tooling": True}


def calling(*names, before="", after=(), **arguments):
    """A service whose model writes these calls."""

    async def on_ask(peer, params):
        mark = re.findall(r"<call:(\w+)>", params["questionText"])[-1]
        body = json.dumps(arguments)
        calls = [f'<call:{mark}>{{"name":"{name}","arguments":{body}}}</call:{mark}>' for name in names]
        await say(peer, params, before, *calls, *after)
        await peer.push(finish(params["requestId"]))

    return on_ask


async def test_reasoning_that_is_sent_counts(new_service, new_engine):
    service = await new_service(lambda peer, params: say(peer, params, "<think>", *["word "] * 20))
    done = await chat(await new_engine(service), request("Hi", max_tokens=5, thinking=True))
    thought = "".join(event.text for event in done.events if isinstance(event, ThinkingDelta))
    assert (estimate(thought), done.text, done.end.reason) == (5, "", FinishReason.LENGTH)
    assert (done.end.usage.output_tokens, done.end.usage.thinking_tokens) == (5, 5)
    assert await service.got("chat/stop")


async def test_hidden_reasoning_cuts_nothing(new_service, new_engine):
    service = await new_service(replying("<think>", *["word "] * 20, "</think>", "Hi."))
    done = await chat(await new_engine(service), request("Hi", max_tokens=5))
    assert (done.text, done.end.reason) == ("Hi.", FinishReason.STOP)


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_a_call_that_has_begun_is_sent_whole(stream, new_service, new_engine):
    service = await new_service(calling("read", "read", path="x" * 99))
    done = await chat(await new_engine(service), request("Hi", max_tokens=5, stream=stream, **TOOLS))
    calls = [event for event in done.events if isinstance(event, ToolCallStarted | ToolCallEnded)]
    assert ([type(event) for event in calls], done.end.reason) == (
        [ToolCallStarted, ToolCallEnded],
        FinishReason.LENGTH,
    )
    assert done.end.usage.output_tokens == estimate("read" + '{"path":"' + "x" * 99 + '"}') + AROUND_CALL
    assert done.record.completion_tokens == done.end.usage.output_tokens


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_the_last_call_may_pass_the_limit(stream, new_service, new_engine):
    service = await new_service(calling("read", path="x" * 99, before="I read. "))
    done = await chat(await new_engine(service), request("Hi", max_tokens=5, stream=stream, **TOOLS))
    assert (done.text.strip(), done.end.reason) == ("I read.", FinishReason.TOOL_CALLS)


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_pitfall_19_call_before_stop_sequence_waits(stream, new_service, new_engine):
    service = await new_service(calling("read", after=["\nI wait. END", " of it"]))
    done = await chat(await new_engine(service), request("Hi", stop=("END",), stream=stream, **TOOLS))
    assert any(isinstance(event, ToolCallEnded) for event in done.events)
    assert (done.text.strip(), done.end.reason, done.end.stop_sequence) == ("I wait.", FinishReason.TOOL_CALLS, None)


async def test_call_behind_the_limit_never_begins(new_service, new_engine):
    service = await new_service(calling("read", before="12345678"))
    done = await chat(await new_engine(service), request("Hi", max_tokens=2, **TOOLS))
    assert (done.text, done.end.reason) == ("12345678", FinishReason.LENGTH)
    assert not any(isinstance(event, ToolCallStarted) for event in done.events)

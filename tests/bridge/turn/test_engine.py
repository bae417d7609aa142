"""Turns from the question to their one ending."""

import asyncio
import gc
import weakref

import pytest

from bridge.chat import errors
from bridge.chat.events import Failed, Finished, FinishReason, KeepAlive, Started, TextDelta, TokenUsage
from bridge.chat.request import Tool
from bridge.chat.tokens import estimate, estimate_messages
from bridge.images.pipeline import ImageOptions, ImagePipeline
from bridge.turn.engine import Engine, EngineOptions
from bridge.turn.plan import PlanOptions
from bridge.turn.record import TurnRecord
from tests.bridge.chats import Reading, chat, going_for_long, hanging_up, once, replying, request, say
from tests.bridge.lingma.service import finish


async def test_turn_begins_sends_text_and_ends(new_service, new_engine):
    engine = await new_engine(await new_service(replying("Hel", "", "lo")))
    done = await chat(engine, request("Hi"))
    tokens = estimate_messages(request("Hi").messages)
    assert done.events[0] == Started("w1-i1", "org_auto", "off", done.record.queue_ms, tokens)
    assert done.text == "Hello"
    assert done.end == Finished(FinishReason.STOP, TokenUsage(tokens, estimate("Hello"), "estimate"))


async def test_record_describes_the_turn(new_service, new_engine):
    engine = await new_engine(await new_service(replying("Hello")))
    record = (await chat(engine, request("Hi"))).record
    assert (record.instance, record.lingma_model, record.session) == ("w1-i1", "org_auto", "off")
    assert (record.status, record.reason, record.usage_source) == ("ok", "stop", "estimate")
    assert 0 <= record.queue_ms <= record.first_token_ms
    assert engine.pool.in_flight == 0


@pytest.mark.parametrize("tools", [(), (Tool("list_dir"),)])
async def test_ended_turn_needs_no_garbage_collector(new_service, new_engine, tools):
    engine = await new_engine(await new_service(replying("Hello")))
    gc.disable()
    try:
        reading = weakref.ref(await chat(engine, request("Hi", tools=tools, tooling=bool(tools))))
        await asyncio.sleep(0)  # its task lets go
        assert reading() is None
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("requested", "key"),
    [
        ("org_auto", "org_auto"),
        ("coder", "coder"),
        ("qwen3-coder", "coder"),
        ("gpt-4o", "fallback"),
        ("agent", "fallback"),
    ],
)
async def test_model_is_found_by_key_or_name(new_service, new_engine, requested, key):
    service = await new_service(replying("x"))
    engine = await new_engine(service, default_model="fallback")
    done = await chat(engine, request("Hi", model=requested))
    assert service.asks()[0]["extra"]["modelConfig"] == {"key": key}
    assert (done.record.lingma_model, done.events[0].lingma_model) == (key, key)


async def test_default_model_may_be_a_display_name(new_service, new_engine):
    service = await new_service(replying("x"))
    done = await chat(await new_engine(service, default_model="Auto"), request("Hi", model="gpt-4o"))
    assert service.asks()[0]["extra"]["modelConfig"] == {"key": "org_auto"}
    assert done.record.lingma_model == "org_auto"


@pytest.mark.parametrize(
    ("models", "allowed"),
    [(None, True), ({"gone"}, True), ({"org_*"}, True), ({"!org_auto"}, False), ({"*", "!org_*"}, False),
     ({"!Auto"}, False), ({"Gone it is"}, False), ({"Gone it is", "auto"}, True)],
)  # fmt: skip
async def test_stand_in_must_be_allowed_too(new_service, new_engine, models, allowed):
    engine = await new_engine(await new_service(replying("x")))
    # Another account of the pool offers this model; the one that has the place does not.
    shown = {"gone it is": "gone", "auto": "org_auto"}
    engine.routes = engine.routes.with_models({"gone": "gone", "org_auto": "org_auto", **shown})
    batches, record = [], TurnRecord()

    async def take(batch):
        batches.append(batch)

    running = engine.run(
        request("Hi", model="gone"), 1, record, take, models=None if models is None else frozenset(models)
    )
    if allowed:
        await running
        assert record.lingma_model == "org_auto"
    else:
        with pytest.raises(errors.Forbidden):
            await running
        assert (record.status, record.reason, batches) == ("error", "model", [])
    assert engine.pool.in_flight == 0


@pytest.mark.parametrize(
    ("model", "options", "mode"),
    [
        ("lingma-agent", {}, "agent"),
        ("org_auto", {"plan": PlanOptions(ask_mode="agent")}, "agent"),
        ("org_auto", {}, "chat"),
    ],
)
async def test_the_mode_is_the_models_or_the_default(new_service, new_engine, model, options, mode):
    service = await new_service(replying("x"))
    await chat(await new_engine(service, **options), request("Hi", model=model))
    assert service.asks()[0]["mode"] == mode


async def test_every_turn_has_ids_of_its_own(new_service, new_engine):
    service = await new_service(replying("x"))
    engine = await new_engine(service)
    for _ in range(2):
        await chat(engine, request("Hi"))
    ids = [params[name] for params in service.asks() for name in ("requestId", "sessionId")]
    assert len(set(ids)) == 4


async def test_whole_conversation_is_sent_without_a_session(new_service, new_engine):
    service = await new_service(replying("x"))
    await chat(await new_engine(service), request("Hi", "Hello", "Bye"))
    params = service.asks()[0]
    prompt = params["questionText"].replace("id00000000", "M")  # the mark, as the ids of the tests begin
    assert prompt == "[User M]\nHi\n\n[Assistant M]\nHello\n\n[User M]\nBye\n\n[Assistant M]"
    assert params["isReply"] is False


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (400, errors.InvalidRequest),
        (403, errors.Forbidden),
        (429, errors.RateLimited),
        (500, errors.UpstreamFailed),
        (601, errors.ContentFiltered),
        (408, errors.UpstreamTimeout),
    ],
)
async def test_a_turn_that_fails_before_its_text_raises(new_service, new_engine, code, kind):
    engine = await new_engine(await new_service(replying(code=code)))
    reading = Reading(engine, request("Hi"))
    with pytest.raises(kind) as raised:
        await reading.to_end()
    assert (reading.events, reading.record.status, reading.record.reason) == ([], "error", kind.kind)
    assert (raised.value.retry_after is not None) == (code == 429)
    assert engine.pool.in_flight == 0


async def test_failure_after_text_comes_at_the_end(new_service, new_engine):
    engine = await new_engine(await new_service(replying("half", code=500)))
    done = await chat(engine, request("Hi"))
    assert done.text == "half"
    assert isinstance(done.end, Failed)
    assert (type(done.end.error), done.record.status, done.record.reason) == (
        errors.UpstreamFailed,
        "error",
        "upstream",
    )
    assert (done.record.completion_tokens, done.record.usage_source) == (estimate("half"), "partial")


async def test_instance_lost_before_first_byte_is_replaced_unseen(new_service, new_engine):
    lost, good = await new_service(hanging_up), await new_service(replying("Hello"))
    done = await chat(await new_engine(lost, good), request("Hi"))
    assert [type(event) for event in done.events] == [Started, TextDelta, Finished]
    assert (done.record.instance, done.events[0].instance, done.record.status) == ("w1-i2", "w1-i2", "ok")
    assert (len(lost.asks()), len(good.asks())) == (1, 1)
    assert lost.asks()[0]["requestId"] != good.asks()[0]["requestId"]


@pytest.mark.parametrize("stream", [True, False])
async def test_turn_of_lost_login_asks_another_instance(new_service, new_engine, stream):
    without, good = await new_service(replying(code=401)), await new_service(replying("Hello"))
    done = await chat(await new_engine(without, good), request("Hi", stream=stream))
    assert (done.text, done.record.instance, done.record.status) == ("Hello", "w1-i2", "ok")
    assert (len(without.asks()), len(good.asks())) == (1, 1)


async def refusing(new_service, code, count, good=0):
    return [await new_service(replying(code=code)) for _ in range(count)] + [
        await new_service(replying("Hello")) for _ in range(good)
    ]


def asked(services):
    return [len(service.asks()) for service in services]


@pytest.mark.parametrize("code", [401, 429])
async def test_refusing_instances_fail_no_turn_of_others(new_service, new_engine, code):
    services = await refusing(new_service, code, 3, good=2)
    engine = await new_engine(*services)
    done = [await chat(engine, request("Hi")) for _ in range(6)]
    assert {(each.text, each.record.status) for each in done} == {("Hello", "ok")}
    # The first of them met all three; they are left alone since.
    assert len(done[0].record.lost) == 3


async def test_turn_probes_one_instance_where_others_are_free(new_service, new_engine):
    services = await refusing(new_service, 429, 3, good=2)
    engine = await new_engine(*services)
    await chat(engine, request("Hi"))
    async with asyncio.timeout(30):
        while any(status.cool_until for status in engine.pool.statuses()):
            await asyncio.sleep(0.05)
    before = sum(asked(services[:3]))
    for tried in range(1, 3):
        assert (await chat(engine, request("Hi"))).text == "Hello"
        assert sum(asked(services[:3])) - before <= tried


@pytest.mark.parametrize(("code", "kind"), [(401, errors.LoggedOut), (429, errors.RateLimited)])
async def test_refusing_instances_are_asked_once(new_service, new_engine, code, kind):
    services = await refusing(new_service, code, 5)
    with pytest.raises(kind):
        await chat(await new_engine(*services), request("Hi"))
    assert asked(services) == [1, 1, 1, 1, 1]


async def test_refusals_count_after_the_queue_timeout(new_service, new_engine):
    services = await refusing(new_service, 429, 4, good=1)
    with pytest.raises(errors.RateLimited):
        await chat(await new_engine(*services, queue_timeout=0.0), request("Hi"))
    assert sum(asked(services)) == 3


async def test_last_lost_login_is_refused_with_a_time(new_service, new_engine):
    service = await new_service(replying(code=401))
    with pytest.raises(errors.Unavailable, match="login of this instance is gone") as caught:
        await chat(await new_engine(service), request("Hi"))
    assert 1 <= caught.value.retry_after <= 30
    assert len(service.asks()) == 1


async def test_instance_lost_after_first_byte_is_an_error(new_service, new_engine):
    service, other = await new_service(), await new_service(replying("no"))
    engine = await new_engine(service, other)
    reading = Reading(engine, request("Hi"))
    service.on_ask = lambda peer, params: say(peer, params, "half")
    await reading.until(TextDelta)
    await service.drop()
    done = await reading.to_end()
    assert (done.text, type(done.end.error)) == ("half", errors.ConnectionLost)
    assert other.asks() == []


async def test_turn_is_tried_three_times_at_most(new_service, new_engine):
    services = [await new_service(hanging_up) for _ in range(4)]
    with pytest.raises(errors.ConnectionLost):
        await chat(await new_engine(*services), request("Hi"))
    assert sum(len(service.asks()) for service in services) == 3


@pytest.mark.parametrize("stream", [True, False])
async def test_lone_instance_is_asked_again_when_back(new_service, new_engine, stream):
    service = await new_service(once(hanging_up, replying("Hello")))
    engine = await new_engine(service)
    done = await chat(engine, request("Hi", stream=stream))
    assert [type(event) for event in done.events] == [Started, TextDelta, Finished]
    assert (done.text, done.record.status, len(service.asks())) == ("Hello", "ok", 2)
    assert done.record.queue_ms <= done.record.first_token_ms
    assert engine.pool.in_flight == 0


async def test_a_sign_of_life_commits_to_nothing(new_service, new_engine):
    lost = await new_service()
    reading = Reading(await new_engine(lost, await new_service(replying("Hello")), keepalive=0.01), request("Hi"))
    await reading.until(KeepAlive)
    await lost.drop()
    done = await reading.to_end()
    seen = [type(event) for event in done.events if type(event) is not KeepAlive]
    assert (seen, done.text) == ([Started, TextDelta, Finished], "Hello")
    assert (done.record.status, done.record.instance) == ("ok", "w1-i2")


async def test_failure_after_keepalives_is_in_the_stream(new_service, new_engine):
    service = await new_service()
    reading = Reading(await new_engine(service, keepalive=0.01), request("Hi"))
    await reading.until(KeepAlive)
    params = await service.got("chat/ask")
    await service.open_peers[0].push(finish(params["requestId"], code=500))
    assert type((await reading.to_end()).end.error) is errors.UpstreamFailed


async def test_vain_wait_for_instance_ends_in_time(new_service, new_engine):
    engine = await new_engine(await new_service(going_for_long), queue_timeout=0.05)
    with pytest.raises(errors.Unavailable) as raised:
        await chat(engine, request("Hi"))
    assert 1 <= raised.value.retry_after <= 30
    assert (engine.pool.in_flight, engine.pool.waiting) == (0, 0)


async def test_hang_up_during_instance_wait_leaves_nothing(new_service, new_engine):
    engine = await new_engine(await new_service(going_for_long), keepalive=0.01)
    reading = Reading(engine, request("Hi"))
    await reading.until(KeepAlive)
    await reading.hang_up()
    assert (engine.pool.in_flight, engine.pool.waiting, reading.record.status) == (0, 0, "cancelled")


async def test_end_of_all_turns_is_not_retried(new_service, new_engine):
    service = await new_service()
    engine = await new_engine(service)
    reading = Reading(engine, request("Hi"))
    await service.got("chat/ask")
    engine.pool.end_turns("closing")
    with pytest.raises(errors.UpstreamFailed, match="closing"):
        await reading.to_end()
    assert len(service.asks()) == 1


async def test_hang_up_stops_service_and_frees_the_place(new_service, new_engine):
    service = await new_service(lambda peer, params: say(peer, params, "Hello "))
    engine = await new_engine(service)
    reading = Reading(engine, request("Hi"))
    await reading.until(TextDelta)
    await reading.hang_up()
    assert (engine.pool.in_flight, reading.record.status, reading.record.reason) == (0, "cancelled", "client_closed")
    assert (await service.got("chat/stop"))["requestId"] == service.asks()[0]["requestId"]
    assert (reading.record.completion_tokens, reading.record.usage_source) == (estimate("Hello "), "partial")


async def test_reader_cancelled_before_first_byte_hung_up(new_service, new_engine):
    service = await new_service()
    engine = await new_engine(service)
    reading = Reading(engine, request("Hi"))
    await service.got("chat/ask")
    await reading.hang_up()
    assert (engine.pool.in_flight, reading.record.status) == (0, "cancelled")
    assert reading.record.prompt_tokens == estimate_messages(request("Hi").messages)
    assert await service.got("chat/stop")


async def test_lost_question_counts_without_another_answer(new_service, new_engine):
    service = await new_service(going_for_long)
    engine = await new_engine(service, keepalive=0.01)
    reading = Reading(engine, request("Hi"))
    await service.got("chat/ask")
    await reading.until(KeepAlive)
    await reading.hang_up()
    assert (len(service.asks()), reading.record.status) == (1, "cancelled")
    tokens = estimate_messages(request("Hi").messages)
    assert (reading.record.prompt_tokens, reading.record.usage_source) == (tokens, "partial")


async def test_schema_of_the_reply_counts(new_service, new_engine):
    engine = await new_engine(await new_service(replying('{"a":1}')))
    schema = b'{"type":"object","description":"' + b"word " * 200 + b'"}'
    asked = request("Hi", reply_schema=schema)
    least = engine.count_tokens(request("Hi"), key=1) + len(schema) // 4
    assert engine.count_tokens(asked, key=1) >= least
    assert (await chat(engine, asked)).record.prompt_tokens >= least


async def test_question_that_was_never_asked_costs_nothing(new_service, new_engine):
    engine = await new_engine(await new_service())
    await engine.pool.stop()
    reading = Reading(engine, request("Hi"))
    with pytest.raises(errors.Unavailable):
        await reading.to_end()
    assert (reading.record.prompt_tokens, reading.record.usage_source) == (0, "")


async def test_silent_model_is_bridged_by_keepalives(new_service, new_engine):
    service = await new_service()
    reading = Reading(await new_engine(service, keepalive=0.01), request("Hi"))
    await reading.until(KeepAlive, times=2)
    assert [type(event) for event in reading.events] == [Started, KeepAlive, KeepAlive]
    await service.open_peers[0].push(finish(service.asks()[0]["requestId"], fullAnswer="late"))
    assert (await reading.to_end()).text == "late"


async def test_a_service_that_stays_silent_is_given_up(new_service, new_engine):
    reading = Reading(await new_engine(await new_service(), silence=0.05), request("Hi"))
    with pytest.raises(errors.UpstreamTimeout):
        await reading.to_end()
    assert reading.record.prompt_tokens == estimate_messages(request("Hi").messages)


async def test_slow_reading_client_is_cut_off(new_service, new_engine):
    sending = asyncio.Event()

    async def go_on_without_end(peer, params):
        await say(peer, params, "x")
        await sending.wait()  # what has come by then is one batch, however much it is
        await say(peer, params, *["x" * 50] * 100)

    engine = await new_engine(service := await new_service(go_on_without_end), buffer=1000)
    record = TurnRecord()

    async def slow_client(_batch):
        sending.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(engine.run(request("Hi"), 1, record, slow_client))
    await asyncio.wait({task}, timeout=30)
    assert task.cancelled()
    assert (engine.pool.in_flight, record.status, record.reason) == (0, "error", "slow_client")
    assert await service.got("chat/stop")


async def test_bug_is_an_internal_error_without_traces(new_service, new_engine, caplog):
    pool = (await new_engine(await new_service())).pool
    engine = Engine(pool, None, ImagePipeline(ImageOptions()), EngineOptions(), lambda: 1 / 0)
    reading = Reading(engine, request("Hi"))
    with pytest.raises(errors.InternalError):
        await reading.to_end()
    assert (pool.in_flight, reading.record.status, reading.record.reason) == (0, "error", "internal")
    assert "a turn broke" in caplog.text


async def test_unstreamed_reply_comes_in_one_batch(new_service, new_engine):
    service = await new_service(replying("Hel", "lo"))
    done = await chat(await new_engine(service, keepalive=0.01), request("Hi", stream=False))
    assert (len(done.batches), done.text, type(done.events[0]), type(done.end)) == (1, "Hello", Started, Finished)


async def test_lost_unstreamed_attempt_sends_nothing(new_service, new_engine):
    async def half(peer, params):
        await say(peer, params, "half")
        await peer.socket.close()

    lost, good = await new_service(half), await new_service(replying("Hello"))
    done = await chat(await new_engine(lost, good), request("Hi", stream=False))
    assert (done.text, done.record.instance, done.record.status) == ("Hello", "w1-i2", "ok")


async def test_unstreamed_reply_fails_after_text_too(new_service, new_engine):
    engine = await new_engine(await new_service(replying("half", code=500)))
    reading = Reading(engine, request("Hi", stream=False))
    with pytest.raises(errors.UpstreamFailed):
        await reading.to_end()
    assert (reading.batches, reading.record.status) == ([], "error")

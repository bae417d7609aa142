"""Which session of the service a turn continues, and which one it leaves behind."""

import asyncio

import pytest

from bridge.chat.errors import Overloaded, UpstreamFailed
from bridge.chat.events import TextDelta
from bridge.chat.request import ChatRequest, Message
from bridge.pool.instances.orders import Order
from bridge.status.wanted import Mode
from gateway_project.lib.redis.redis_link import RedisLink
from sessions_store.store import SessionStore
from tests.bridge.chats import Reading, chat, hanging_up, replying, request, say
from tests.bridge.lingma.service import finish
from tests.bridge.pools import in_state

FIRST = request("Hi")
NEXT = request("Hi", "Hello", "Bye")
MARK = "id00000000"  # as the ids of the tests begin
WHOLE = "[User M]\nHi\n\n[Assistant M]\nHello\n\n[User M]\nBye\n\n[Assistant M]"


@pytest.fixture
async def service(new_service):
    return await new_service(replying("Hello"))


@pytest.fixture
async def engine(new_engine, service, sessions):
    return await new_engine(service, sessions=sessions)


def last_question(service):
    """What the last question was, with M for the session's mark."""
    params = service.asks()[-1]
    return params["questionText"].replace(MARK, "M"), params["sessionId"], params["isReply"]


async def test_a_conversation_goes_on_in_its_session(engine, service):
    first, second = await chat(engine, FIRST), await chat(engine, NEXT)
    assert [first.record.session, second.record.session, second.events[0].session] == ["new", "reused", "reused"]
    assert last_question(service) == ("Bye", "s-real", True)
    third = await chat(engine, request("Hi", "Hello", "Bye", "Hello", "Again"))
    assert (third.record.session, last_question(service)) == ("reused", ("Again", "s-real", True))


async def test_whole_reply_is_remembered_like_a_streamed_one(engine, service):
    await chat(engine, request("Hi", stream=False))
    assert (await chat(engine, request("Hi", "Hello", "Bye", stream=False))).record.session == "reused"


async def keeping_ids(peer, params):
    """Each conversation has a session of its own, by the id it was asked for."""
    await replying("Hello", sessionId=params["sessionId"])(peer, params)


async def test_another_caller_never_gets_the_session(engine, service):
    service.on_ask = keeping_ids
    await chat(engine, FIRST, caller_id=1)
    assert (await chat(engine, NEXT, caller_id=2)).record.session == "new"
    assert last_question(service)[0] == WHOLE
    assert (await chat(engine, NEXT, caller_id=1)).record.session == "reused"


async def test_one_of_two_equal_prefixes_gets_the_session(engine, service):
    await chat(engine, FIRST)
    both = await asyncio.gather(chat(engine, NEXT), chat(engine, NEXT))
    assert sorted(done.record.session for done in both) == ["new", "reused"]
    assert sorted(params["isReply"] for params in service.asks()[1:]) == [False, True]
    assert len({params["sessionId"] for params in service.asks()[1:]}) == 2


async def test_an_edited_conversation_is_another_one(engine, service):
    await chat(engine, FIRST)
    for edited in (("Hey", "Hello", "Bye"), ("Hi", "Hello!", "Bye")):
        assert (await chat(engine, request(*edited))).record.session == "new"


async def test_the_system_prompt_is_part_of_the_conversation(engine, service):
    service.on_ask = keeping_ids
    system = (Message("system", "Be brief."),)
    await chat(engine, ChatRequest("org_auto", system + FIRST.messages, stream=True))
    assert (await chat(engine, NEXT)).record.session == "new"
    assert (await chat(engine, ChatRequest("org_auto", system + NEXT.messages, stream=True))).record.session == "reused"


async def test_the_services_agent_has_no_sessions(engine, service):
    await chat(engine, request("Hi", model="agent"))
    assert (await chat(engine, request("Hi", "Hello", "Bye", model="agent"))).record.session == "off"
    assert (await chat(engine, NEXT)).record.session == "new"


async def test_sessions_are_off_without_a_store(new_engine, service):
    engine = await new_engine(service)
    await chat(engine, FIRST)
    assert (await chat(engine, NEXT)).record.session == "off"


async def test_a_store_that_is_gone_fails_no_turn(new_engine, service, stack, tmp_path):
    link = RedisLink(f"unix://{tmp_path}/none.sock")
    stack.push_async_callback(link.close)
    engine = await new_engine(service, sessions=SessionStore(link, ttl=60, max_entries=10))
    await chat(engine, FIRST)
    assert (await chat(engine, NEXT)).record.session == "new"


async def test_another_run_does_not_know_the_session(engine, service):
    await chat(engine, FIRST)
    await service.drop()
    await in_state(engine.pool, "starting")
    await in_state(engine.pool, "ready")
    assert (await chat(engine, NEXT)).record.session == "rebuilt"
    assert (last_question(service)[0], last_question(service)[2]) == (WHOLE, False)


@pytest.fixture
async def other(new_service):
    return await new_service(replying("Hello again"))


@pytest.fixture
async def two(new_engine, service, other, sessions):
    return await new_engine(service, other, sessions=sessions, limit=1)


async def test_the_session_brings_the_turn_to_its_instance(two, service):
    await chat(two, FIRST)
    for texts in (("Hi", "Hello", "Bye"), ("Hi", "Hello", "Bye", "Hello", "So")):
        assert (await chat(two, request(*texts))).record.instance == "w1-i1"


async def test_a_busy_instance_is_not_waited_for(two, other):
    await chat(two, FIRST)
    lease = two.pool.lease(two.pool.instances[0].affinity)
    done = await chat(two, NEXT)
    assert (done.record.session, done.record.instance, last_question(other)[0]) == ("rebuilt", "w1-i2", WHOLE)
    lease.release()


async def test_session_of_drained_instance_is_rebuilt_elsewhere(two, other):
    await chat(two, FIRST)
    two.pool.upkeep.obey({"w1-i1": Order(mode=Mode.DRAIN)})
    done = await chat(two, NEXT)
    assert (done.text, done.record.session, done.record.instance) == ("Hello again", "rebuilt", "w1-i2")
    assert (last_question(other)[0], last_question(other)[2]) == (WHOLE, False)


async def test_lost_session_is_rebuilt_elsewhere_unseen(two, service, other):
    await chat(two, FIRST)
    service.on_ask = hanging_up
    done = await chat(two, NEXT)
    assert (done.text, done.record.session, done.record.instance) == ("Hello again", "rebuilt", "w1-i2")
    assert (last_question(other)[0], last_question(other)[2]) == (WHOLE, False)


@pytest.mark.parametrize("code", [406, 500, 400, 408])
async def test_refused_session_is_rebuilt_unseen(engine, service, code):
    async def refuse_replies(peer, params):
        await (replying(code=code) if params["isReply"] else replying("Fresh"))(peer, params)

    await chat(engine, FIRST)
    service.on_ask = refuse_replies
    done = await chat(engine, NEXT)
    assert (done.text, done.record.session, done.events[0].session) == ("Fresh", "rebuilt", "rebuilt")
    assert (await chat(engine, request("Hi", "Hello", "Bye", "Fresh", "So"))).record.session == "rebuilt"


async def test_a_rate_limit_is_no_reason_to_rebuild(engine, service):
    await chat(engine, FIRST)
    service.on_ask = replying(code=429)
    reading = Reading(engine, NEXT)
    with pytest.raises(Exception, match="rate limited"):
        await reading.to_end()
    assert len(service.asks()) == 2


async def test_a_failed_turn_leaves_no_session(engine, service):
    service.on_ask = replying("Hello", code=500)
    await chat(engine, FIRST)
    service.on_ask = replying("x")
    assert (await chat(engine, NEXT)).record.session == "new"


@pytest.mark.parametrize("limits", [{"stop": ("!",)}, {"max_tokens": 2}])
async def test_a_turn_that_was_cut_leaves_no_session(engine, service, limits):
    service.on_ask = replying("Hello! And so on")
    cut = await chat(engine, request("Hi", **limits))
    service.on_ask = replying("x")
    assert (await chat(engine, request("Hi", cut.text, "Bye"))).record.session == "new"


async def test_turn_given_up_leaves_no_session(engine, service):
    service.on_ask = lambda peer, params: say(peer, params, "Hello")
    reading = Reading(engine, FIRST)
    await reading.until(TextDelta)
    await reading.hang_up()
    service.on_ask = replying("x")
    assert (await chat(engine, NEXT)).record.session == "new"


async def test_reused_session_given_up_is_not_used_again(engine, service):
    await chat(engine, FIRST)
    service.on_ask = lambda peer, params: say(peer, params, "half")
    reading = Reading(engine, NEXT)
    await reading.until(TextDelta)
    await reading.hang_up()
    service.on_ask = replying("x")
    assert (await chat(engine, NEXT)).record.session == "new"


async def test_refused_turn_leaves_its_session_for_retry(new_engine, service, sessions):
    engine = await new_engine(service, sessions=sessions, most=1, waiting=0)
    await chat(engine, FIRST)
    lease = engine.pool.lease()
    with pytest.raises(Overloaded):
        await chat(engine, NEXT)
    lease.release()
    assert (await chat(engine, NEXT)).record.session == "reused"


async def test_reused_session_failing_twice_is_an_error(engine, service):
    await chat(engine, FIRST)
    service.on_ask = replying(code=500)
    reading = Reading(engine, NEXT)
    with pytest.raises(UpstreamFailed):
        await reading.to_end()
    assert (reading.record.session, len(service.asks())) == ("rebuilt", 3)


async def test_remembered_answer_is_the_one_sent(engine, service):
    async def overwrite(peer, params):
        await say(peer, params, "Helo")
        await peer.push(
            ("chat/answer", {"requestId": params["requestId"], "text": "Hello", "overwrite": True}),
            finish(params["requestId"]),
        )

    service.on_ask = overwrite
    first = await chat(engine, FIRST)
    assert (await chat(engine, request("Hi", first.text, "Bye"))).record.session == "reused"

"""What is sent of replies that are corrected, replaced or cut, what of them is counted, and what is remembered."""

import json

import pytest

from bridge.chat.events import FinishReason, ThinkingDelta, ToolCallDelta
from bridge.chat.request import ChatRequest, Message, Tool
from bridge.chat.tokens import estimate
from tests.bridge.chats import chat, replying, request, say
from tests.bridge.lingma.service import answer, finish

SCHEMA = b'{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}'


def saying(*replies):
    """A service that says one text after the other, a few characters at a time."""
    left = iter(replies)

    async def on_ask(peer, params):
        text = next(left)
        await say(peer, params, *[text[at : at + 5] for at in range(0, len(text), 5)])
        await peer.push(finish(params["requestId"]))

    return on_ask


def asking(*messages, stream=False, schema=SCHEMA):
    return ChatRequest("org_auto", (Message("user", "Hi"), *messages), stream, reply_schema=schema)


@pytest.mark.parametrize("stream", [True, False])
async def test_invalid_json_is_sent_back_in_same_session(new_service, new_engine, stream):
    service = await new_service(saying("Certainly!", 'Here: {"n": 1}'))
    done = await chat(await new_engine(service), asking(stream=stream))
    first, second = service.asks()
    assert (done.text, done.end.reason) == ('{"n":1}', FinishReason.STOP)
    assert (second["isReply"], second["sessionId"]) == (True, "s-real")
    assert "it holds no JSON" in second["questionText"]
    assert first["sessionId"] != second["sessionId"]
    assert done.record.tool_outcomes == {"reply_retried": 1}


async def test_misfit_json_is_sent_back_with_all_faults(new_service, new_engine):
    service = await new_service(saying('{"n": "x"}', '{"n": 2}'))
    done = await chat(await new_engine(service), asking())
    assert done.text == '{"n":2}'
    assert "n: 'x' is not of type 'integer'" in service.asks()[1]["questionText"]


@pytest.mark.parametrize("stream", [True, False])
async def test_a_refusal_stays_readable(new_service, new_engine, stream):
    service = await new_service(saying("I would rather not.", "I will not."))
    done = await chat(await new_engine(service), asking(stream=stream))
    assert (done.text, done.record.status) == ("I will not.", "ok")


async def test_first_reply_counts_without_the_correction(new_service, new_engine):
    async def on_ask(peer, params):
        if params["isReply"]:
            return await peer.push(finish(params["requestId"], 500))
        return await saying("I would rather not.")(peer, params)

    done = await chat(await new_engine(await new_service(on_ask)), asking())
    assert (done.text, done.record.status) == ("I would rather not.", "ok")


async def test_continued_client_prefix_is_left_alone(new_service, new_engine):
    service = await new_service(saying('"n": 1}'))
    done = await chat(await new_engine(service), asking(Message("assistant", "{")))
    assert (done.text, len(service.asks())) == ('"n": 1}', 1)


def replacing(draft, text):
    async def on_ask(peer, params):
        await say(peer, params, *draft.split("|"))
        await peer.push(answer(text, params["requestId"], overwrite=True), finish(params["requestId"]))

    return on_ask


async def test_final_text_alone_is_sent_counted_and_remembered(new_service, new_engine, sessions):
    service = await new_service(replacing("A long| draft", "The text"))
    engine = await new_engine(service, sessions=sessions)
    done = await chat(engine, request("Hi", stream=False))
    assert (done.text, done.end.usage.output_tokens) == ("The text", estimate("The text"))
    service.on_ask = replying("x")
    assert (await chat(engine, request("Hi", "The text", "Bye", stream=False))).record.session == "reused"


async def test_the_limits_hold_for_the_final_text(new_service, new_engine):
    service = await new_service(replacing("A draft", "One two END three"))
    done = await chat(await new_engine(service), request("Hi", stream=False, stop=("END",)))
    assert (done.text, done.end.reason) == ("One two ", FinishReason.STOP_SEQUENCE)


async def test_reasoning_without_opening_is_no_text(new_service, new_engine, sessions):
    service = await new_service(saying("Let me weigh it.\n</think>\n\nYes."))
    engine = await new_engine(service, sessions=sessions)
    done = await chat(engine, request("Hi", stream=False, thinking=True))
    assert done.text == "Yes."
    assert "".join(event.text for event in done.events if isinstance(event, ThinkingDelta)) == "Let me weigh it.\n"
    service.on_ask = replying("x")
    assert (await chat(engine, request("Hi", "Yes.", "Bye", stream=False))).record.session == "reused"


@pytest.mark.parametrize("stream", [True, False])
async def test_uncut_text_is_counted_all_the_same(new_service, new_engine, stream):
    arguments = json.dumps({"text": "word " * 100})
    call = f'<tool_call>{{"name":"write","arguments":{arguments}}}</tool_call>'
    service = await new_service(replying(call))
    fields = {"tools": (Tool("write"),), "tooling": True, "max_tokens": 5, "stream": stream}
    done = await chat(await new_engine(service), request("Hi", **fields))
    arguments = "".join(event.text for event in done.events if isinstance(event, ToolCallDelta))
    assert done.end.usage.output_tokens == done.record.completion_tokens >= estimate(arguments) > 100


async def test_hidden_reasoning_counts_beside_the_text(new_service, new_engine):
    service = await new_service(saying(f"<think>{'hm ' * 200}</think>{'word ' * 50}"))
    done = await chat(await new_engine(service), request("Hi", stream=False, max_tokens=5))
    assert (estimate(done.text), done.end.reason) == (5, FinishReason.LENGTH)
    assert done.end.usage.output_tokens == 5 + estimate("hm " * 200)


MUCH = "".join(f"line {number}\n[of `many`\n" for number in range(20_000))


@pytest.mark.parametrize("stream", [True, False])
async def test_text_that_comes_at_once_is_whole(new_service, new_engine, stream):
    async def on_ask(peer, params):
        await say(peer, params, "Well: ", MUCH)
        await say(peer, params, "That is all.")
        await peer.push(finish(params["requestId"]))

    done = await chat(await new_engine(await new_service(on_ask)), asking(stream=stream, schema=b""))
    assert (done.text, done.record.status) == (f"Well: {MUCH}That is all.", "ok")


async def test_replaced_text_that_comes_at_once_is_whole(new_service, new_engine):
    async def on_ask(peer, params):
        await say(peer, params, "A draft.")
        await peer.push(answer(MUCH, params["requestId"], overwrite=True))
        await peer.push(finish(params["requestId"]))

    done = await chat(await new_engine(await new_service(on_ask)), asking(schema=b""))
    assert done.text == MUCH

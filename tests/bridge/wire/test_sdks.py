"""The official clients read the streams: the golden ones, and any other."""

import json

import anthropic
import httpx2
import openai
import pytest
from hypothesis import given, settings

from bridge.chat.fold import fold
from tests.bridge.wire.strategies import good_turns
from tests.bridge.wire.turns import CHAT, CHAT_WITH_USAGE, CUSTOM, GOLDEN, GOOD_TURNS, HEAD, MESSAGES, TURNS


class Served:
    """A stream to be read by the clients, which are slow to make and therefore made once."""

    body = b""


def answer(_):
    return httpx2.Response(200, headers={"content-type": "text/event-stream; charset=utf-8"}, content=Served.body)


@pytest.fixture(scope="module")
def openai_client():
    with httpx2.Client(transport=httpx2.MockTransport(answer)) as http:
        yield openai.OpenAI(api_key="k", base_url="http://gateway/v1", http_client=http, max_retries=0)


@pytest.fixture(scope="module")
def anthropic_client():
    with httpx2.Client(transport=httpx2.MockTransport(answer)) as http:
        yield anthropic.Anthropic(api_key="k", base_url="http://gateway", http_client=http, max_retries=0)


def completed(client, stream):
    Served.body = stream
    with client.chat.completions.stream(model="m", messages=[]) as events:
        return events.get_final_completion()


def put_together(client, stream):
    Served.body = stream
    with client.messages.stream(model="m", max_tokens=9, messages=[]) as events:
        return events.get_final_message()


def golden(path):
    return (GOLDEN / path).read_bytes()


def assert_same_completion(completion, turn):
    """What the client put together says what the body of the same reply, not streamed, says."""
    whole = json.loads(CHAT.whole(HEAD, fold(turn)))
    told, message = whole["choices"][0]["message"], completion.choices[0].message
    calls = [(call.id, call.type, call.function.model_dump()) for call in message.tool_calls or ()]
    assert calls == [
        (call["id"], "function", {**call["function"], "parsed_arguments": None}) for call in told.get("tool_calls", ())
    ]
    assert (message.role, message.content or "") == ("assistant", told["content"] or "")
    assert getattr(message, "reasoning_content", None) == told.get("reasoning_content")
    assert completion.choices[0].finish_reason == whole["choices"][0]["finish_reason"]
    assert completion.usage.total_tokens == whole["usage"]["total_tokens"]


def assert_same_message(message, turn):
    whole = json.loads(MESSAGES.whole(HEAD, fold(turn)))
    assert [block.model_dump(exclude_none=True) for block in message.content] == whole["content"]
    assert (message.stop_reason, message.stop_sequence) == (whole["stop_reason"], whole["stop_sequence"])
    usage = message.usage.model_dump(exclude_none=True)
    assert usage | {"service_tier": "standard"} == whole["usage"]


# The client's helper raises for replies that were cut off or filtered: that is how it tells them.
@pytest.mark.parametrize(
    "turn", [turn for turn in GOOD_TURNS if turn not in {"length", "filtered"} and "cut" not in turn]
)
def test_the_openai_client_puts_the_reply_together(openai_client, turn):
    assert_same_completion(completed(openai_client, golden(f"openai_chat/{turn}.usage.sse")), TURNS[turn])


@pytest.mark.parametrize("turn", ["cut_off", "cut_off_at_once", "cut_off_thinking", "length"])
def test_the_openai_client_notices_what_was_cut_off(openai_client, turn):
    with pytest.raises(openai.LengthFinishReasonError):
        completed(openai_client, golden(f"openai_chat/{turn}.usage.sse"))


@pytest.mark.parametrize("turn", [turn for turn in GOOD_TURNS if turn not in {"cut_off", "cut_off_at_once"}])
def test_the_anthropic_client_puts_the_reply_together(anthropic_client, turn):
    assert_same_message(put_together(anthropic_client, golden(f"anthropic/{turn}.sse")), TURNS[turn])


def test_anthropic_client_shows_a_cut_off_call(anthropic_client):
    message = put_together(anthropic_client, golden("anthropic/cut_off.sse"))
    assert [block.type for block in message.content] == ["text", "tool_use"]
    assert message.stop_reason == "max_tokens"


@settings(deadline=None, max_examples=15)
@given(turn=good_turns())
def test_stream_equals_whole_reply_for_openai_client(openai_client, turn):
    assert_same_completion(completed(openai_client, CHAT_WITH_USAGE.encoder(HEAD).feed(turn)), turn)


@settings(deadline=None, max_examples=15)
@given(turn=good_turns())
def test_stream_equals_whole_reply_for_anthropic_client(anthropic_client, turn):
    assert_same_message(put_together(anthropic_client, MESSAGES.encoder(HEAD).feed(turn)), turn)


def test_openai_client_reads_a_custom_tool_call(openai_client):
    Served.body = CHAT.encoder(HEAD).feed(CUSTOM)  # its helper knows functions only
    chunks = openai_client.chat.completions.create(model="m", messages=[], stream=True)
    fragments = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or ()]
    assert [(call.index, call.id, call.type) for call in fragments] == [
        (0, "call_c1", "custom"),
        *[(0, None, None)] * 2,
    ]
    assert "".join(call.custom["input"] for call in fragments) == '*** Begin\n"x"'


@pytest.mark.parametrize("turn", ["broken", "broken_at_once", "broken_call"])
def test_both_clients_raise_when_a_stream_breaks(openai_client, anthropic_client, turn):
    with pytest.raises(openai.APIError, match="closed the connection"):
        completed(openai_client, golden(f"openai_chat/{turn}.usage.sse"))
    with pytest.raises(anthropic.APIError, match="closed the connection"):
        put_together(anthropic_client, golden(f"anthropic/{turn}.sse"))

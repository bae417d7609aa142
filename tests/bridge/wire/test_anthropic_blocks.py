"""Thinking and tool use in Anthropic's replies, streamed and whole."""

import base64
import json

import msgspec
import pytest
from anthropic.types import Message
from hypothesis import given, settings

from bridge.chat.events import Failed, Finished, FinishReason, TextDelta, ThinkingDelta, ToolCallStarted
from bridge.chat.fold import fold
from bridge.wire.anthropic.format import FORMAT
from tests.bridge.wire.strategies import good_turns, turns
from tests.bridge.wire.turns import HEAD, MESSAGES, STARTED, TURNS, WAITING, blocks, call, finished, payloads


def events(turn):
    return [event for event in payloads(MESSAGES.encoder(HEAD).feed(turn)) if event["type"] != "ping"]


def content(turn):
    """The events of the blocks, without what is around them."""
    return [event for event in events(turn) if event["type"].startswith("content_block")]


def started(turn):
    return [event["content_block"] for event in content(turn) if event["type"] == "content_block_start"]


def partial(turn):
    deltas = [event["delta"] for event in content(turn) if event["type"] == "content_block_delta"]
    return [delta["partial_json"] for delta in deltas if delta["type"] == "input_json_delta"]


def whole(turn, head=HEAD):
    told = json.loads(MESSAGES.whole(head, fold(turn)))
    Message.model_validate(told, strict=True)
    return told


@settings(deadline=None)
@given(turns())
def test_blocks_are_numbered_and_open_one_by_one(turn):
    index, is_open = -1, False
    for event in content(turn):
        if event["type"] == "content_block_start":
            assert not is_open
            index, is_open = index + 1, True
        assert (event["index"], is_open) == (index, True)
        is_open = event["type"] != "content_block_stop"
    assert not is_open or isinstance(turn[-1], Failed)


@settings(deadline=None)
@given(turns())
def test_pitfall_12_stream_ends_whole_or_with_error(turn):
    told = [event["type"] for event in events(turn)]
    assert told[0] == "message_start"
    ending = ["error"] if isinstance(turn[-1], Failed) else ["message_delta", "message_stop"]
    assert told[-len(ending) :] == ending
    assert {"error", "message_delta", "message_stop"}.isdisjoint(told[: -len(ending)])


@settings(deadline=None)
@given(turns())
def test_every_block_starts_empty(turn):
    for block in started(turn):
        match block.pop("type"):
            case "text":
                assert block == {"text": ""}
            case "thinking":
                assert block == {"thinking": "", "signature": ""}
            case "tool_use":
                assert block.pop("input") == {}
                assert set(block) == {"id", "name"}


@settings(deadline=None)
@given(turns())
def test_block_gets_deltas_of_its_kind_only(turn):
    kinds = {
        "text": {"text_delta"},
        "thinking": {"thinking_delta", "signature_delta"},
        "tool_use": {"input_json_delta"},
    }
    open_kinds = set()
    for event in content(turn):
        if event["type"] == "content_block_start":
            open_kinds = kinds[event["content_block"]["type"]]
        elif event["type"] == "content_block_delta":
            assert event["delta"]["type"] in open_kinds


@settings(deadline=None)
@given(good_turns())
def test_a_thinking_block_ends_with_one_signature(turn):
    told = content(turn)
    signed = [place for place, event in enumerate(told) if event.get("delta", {}).get("type") == "signature_delta"]
    assert len(signed) == len([block for block in started(turn) if block["type"] == "thinking"])
    for place in signed:
        assert told[place - 1]["delta"]["type"] == "thinking_delta"
        assert told[place + 1]["type"] == "content_block_stop"


def test_pitfall_8_call_opens_empty_before_its_fragments():
    assert started(TURNS["one_call"]) == [{"type": "tool_use", "id": "call_a1", "name": "get_weather", "input": {}}]
    assert partial(TURNS["one_call"]) == ["", '{"ci', 'ty":"Paris"}']


def test_a_call_without_arguments_gets_an_empty_object():
    turn = [STARTED, *call("toolu_1", "get_time"), WAITING]
    assert partial(turn) == ["", "{}"]
    assert whole(turn)["content"][0]["input"] == {}


def test_whole_call_input_is_an_object():
    assert [block.get("input") for block in whole(TURNS["calls"])["content"]] == [
        None,
        None,
        {"city": "Paris"},
        {},
        {"text": '世界 \u2028 "\n😀'},
    ]


@pytest.mark.parametrize("arguments", ["[1]", '"ls"', "ls -l"])
def test_non_object_input_is_put_into_one(arguments):
    assert whole([STARTED, *call("toolu_1", "run", arguments), WAITING])["content"][0]["input"] == {"input": arguments}


def test_half_an_emoji_does_not_spoil_the_body():
    turn = [STARTED, *call("toolu_1", "run", '{"a":"\\ud83d","b":1}'), WAITING]
    assert whole(turn)["content"][0]["input"] == {"a": "\ufffd", "b": 1}


def test_cut_off_call_is_streamed_but_not_whole():
    assert partial(TURNS["cut_off"]) == ["", '{"ci']
    assert content(TURNS["cut_off"])[-1]["type"] == "content_block_stop"
    assert [block["type"] for block in whole(TURNS["cut_off"])["content"]] == ["text"]
    assert whole(TURNS["cut_off_at_once"])["content"] == []


@pytest.mark.parametrize(
    ("turn", "reason"), [("calls", "tool_use"), ("executed_call", "end_turn"), ("cut_off", "max_tokens")]
)
def test_pitfall_19_reason_shows_whether_a_call_waits(turn, reason):
    assert events(TURNS[turn])[-2]["delta"]["stop_reason"] == reason
    assert whole(TURNS[turn])["stop_reason"] == reason


def test_text_between_calls_has_blocks_of_its_own():
    turn = [STARTED, TextDelta("a"), *call("toolu_1", "x"), TextDelta("b"), TextDelta("c"), finished()]
    assert [block["type"] for block in started(turn)] == ["text", "tool_use", "text"]
    assert [block.get("text") for block in whole(turn)["content"]] == ["a", None, "bc"]


def signature(turn, head=HEAD):
    return whole(turn, head)["content"][0]["signature"]


def test_signature_depends_on_reply_and_text():
    turn = TURNS["thinking"]
    told = [event["delta"] for event in content(turn) if event.get("delta", {}).get("type") == "signature_delta"]
    assert [delta["signature"] for delta in told] == [signature(turn)]
    assert len(base64.b64decode(signature(turn), validate=True)) == 32
    assert signature(turn) != signature(TURNS["thinking_only"])
    assert signature(turn) != signature(turn, msgspec.structs.replace(HEAD, request_id="ab" * 16))


def test_a_reply_may_be_sent_back_as_history():
    told = whole(TURNS["calls"])["content"]
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "assistant", "content": told}]}
    message = FORMAT.parse(json.dumps(body).encode()).request.messages[0]
    assert message.text == "Let me look."
    assert [(call.id, call.name) for call in message.tool_calls] == [
        ("call_a1", "get_weather"),
        ("call_b2", "get_time"),
        ("toolu_3", "write"),
    ]


def test_thinking_tokens_are_counted():
    told = {"thinking_tokens": 3}
    assert events(TURNS["thinking"])[-2]["usage"]["output_tokens_details"] == told
    assert whole(TURNS["thinking"])["usage"]["output_tokens_details"] == told
    assert "output_tokens_details" not in whole(TURNS["text"])["usage"]


def test_failure_in_a_call_closes_nothing():
    assert [name for name, _ in blocks(MESSAGES.encoder(HEAD).feed(TURNS["broken_call"]))] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "error",
    ]


def test_resumed_thinking_gets_new_block_and_signature():
    turn = [
        STARTED,
        ThinkingDelta("a"),
        TextDelta("b"),
        ThinkingDelta("c"),
        Finished(FinishReason.STOP, finished().usage),
    ]
    signatures = [block["signature"] for block in whole(turn)["content"] if block["type"] == "thinking"]
    assert len(set(signatures)) == 2
    told = [event["delta"] for event in content(turn) if event.get("delta", {}).get("type") == "signature_delta"]
    assert [delta["signature"] for delta in told] == signatures


def test_names_and_ids_need_no_manners():
    turn = [STARTED, ToolCallStarted('a"b\u2028', "c\n世"), finished(FinishReason.LENGTH)]
    assert [(block["id"], block["name"]) for block in started(turn)] == [('a"b\u2028', "c\n世")]

"""Thinking and tool calls in Chat Completions, streamed and whole."""

import json

import pytest
from hypothesis import given, settings
from openai.types.chat import ChatCompletion

from bridge.chat.events import Finished, FinishReason, ThinkingDelta, TokenUsage
from bridge.chat.fold import fold
from bridge.wire.openai.encoder import ChatReply
from tests.bridge.wire.strategies import good_turns, turns
from tests.bridge.wire.turns import (
    CHAT,
    CHAT_WITH_USAGE,
    CUSTOM,
    HEAD,
    STARTED,
    TURNS,
    WAITING,
    WEATHER,
    call,
    payloads,
)

FUNCTIONS = ChatReply(functions=True)


def chunks(turn, asked=CHAT):
    return payloads(asked.encoder(HEAD).feed(turn))


def deltas(turn, asked=CHAT):
    """The deltas between the role and the reason."""
    return [chunk["choices"][0]["delta"] for chunk in chunks(turn, asked)[1:-1]]


def fragments(turn):
    return [fragment for delta in deltas(turn) for fragment in delta.get("tool_calls", ())]


def whole(turn, asked=CHAT):
    told = json.loads(asked.whole(HEAD, fold(turn)))
    ChatCompletion.model_validate(told, strict=True)
    return told["choices"][0]


def test_a_call_is_named_once_and_then_grows():
    assert deltas(TURNS["one_call"]) == [
        {
            "tool_calls": [
                {"index": 0, "id": "call_a1", "type": "function", "function": {"name": "get_weather", "arguments": ""}}
            ]
        },
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"ci'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": 'ty":"Paris"}'}}]},
    ]


@settings(deadline=None)
@given(turns())
def test_pitfall_9_fragments_have_index_first_has_name(turn):
    seen = []
    for chunk in chunks([event for event in turn if event is not turn[-1]]):
        for fragment in chunk["choices"][0]["delta"].get("tool_calls", ()):
            assert isinstance(fragment["function"]["arguments"], str)
            if fragment["index"] == len(seen):  # dense, in order of appearance
                seen.append((fragment["id"], fragment["type"], fragment["function"]["name"]))
            else:
                assert fragment["index"] == len(seen) - 1
                assert set(fragment) == {"index", "function"}
                assert set(fragment["function"]) == {"arguments"}
    assert [(name, id_) for id_, _, name in seen] == [(e.name, e.id) for e in turn if hasattr(e, "namespace")]


@settings(deadline=None)
@given(good_turns())
def test_call_arguments_are_one_json_object(turn):
    arguments = {}
    for fragment in fragments(turn):
        arguments[fragment["index"]] = arguments.get(fragment["index"], "") + fragment["function"]["arguments"]
    assert all(isinstance(json.loads(text), dict) for text in arguments.values())
    assert list(arguments.values()) == [call.arguments or "{}" for call in fold(turn).calls]


def test_a_call_without_arguments_gets_an_empty_object():
    turn = [STARTED, *call("call_1", "get_time"), WAITING]
    assert [fragment["function"]["arguments"] for fragment in fragments(turn)] == ["", "{}"]
    assert whole(turn)["message"]["tool_calls"][0]["function"]["arguments"] == "{}"


def test_a_custom_tool_gets_its_input_as_text():
    first, *more = fragments(CUSTOM)
    assert first == {"index": 0, "id": "call_c1", "type": "custom", "custom": {"name": "patch", "input": ""}}
    assert more == [{"index": 0, "custom": {"input": text}} for text in ("*** Begin\n", '"x"')]
    told = {"id": "call_c1", "type": "custom", "custom": {"name": "patch", "input": '*** Begin\n"x"'}}
    assert whole(CUSTOM)["message"]["tool_calls"] == [told]


def test_a_custom_tool_may_get_an_empty_input():
    turn = [STARTED, *call("call_1", "patch", custom=True), WAITING]
    assert [fragment["custom"]["input"] for fragment in fragments(turn)] == [""]
    assert whole(turn)["message"]["tool_calls"][0]["custom"]["input"] == ""


@pytest.mark.parametrize(
    ("turn", "reason"), [("calls", "tool_calls"), ("executed_call", "stop"), ("cut_off", "length")]
)
def test_pitfall_19_reason_shows_whether_a_call_waits(turn, reason):
    assert chunks(TURNS[turn])[-1]["choices"][0]["finish_reason"] == reason
    assert whole(TURNS[turn])["finish_reason"] == reason


def test_content_beside_calls_is_null_without_text():
    assert whole(TURNS["one_call"])["message"]["content"] is None
    assert whole(TURNS["calls"])["message"]["content"] == "Let me look."
    assert whole(TURNS["empty"])["message"]["content"] == ""


@pytest.mark.parametrize("turn", ["text", "empty", "cut_off", "cut_off_at_once", "thinking"])
def test_tool_calls_are_absent_where_there_is_none(turn):
    assert "tool_calls" not in whole(TURNS[turn])["message"]


def test_cut_off_call_is_streamed_but_not_whole():
    assert [fragment["function"]["arguments"] for fragment in fragments(TURNS["cut_off"])] == ["", '{"ci']
    assert [fragment["function"]["arguments"] for fragment in fragments(TURNS["cut_off_at_once"])] == [""]
    assert whole(TURNS["cut_off"])["message"]["content"] == "I look."


def test_thinking_comes_as_reasoning_content_before_the_text():
    assert deltas(TURNS["thinking"]) == [
        {"reasoning_content": "I should "},
        {"reasoning_content": "look.\n"},
        {"content": "Hello!"},
    ]
    message = whole(TURNS["thinking"])["message"]
    assert (message["reasoning_content"], message["content"]) == ("I should look.\n", "Hello!")
    assert "reasoning_content" not in whole(TURNS["text"])["message"]


def test_thinking_tokens_are_counted():
    turn = [STARTED, ThinkingDelta("Hm."), Finished(FinishReason.STOP, TokenUsage(10, 5, "upstream", 3))]
    told = {"reasoning_tokens": 3}
    assert chunks(turn, CHAT_WITH_USAGE)[-1]["usage"]["completion_tokens_details"] == told
    assert json.loads(CHAT.whole(HEAD, fold(turn)))["usage"]["completion_tokens_details"] == told


def test_client_that_declared_functions_gets_a_function_call():
    turn = [STARTED, *WEATHER, WAITING]
    assert deltas(turn, FUNCTIONS) == [
        {"function_call": {"name": "get_weather", "arguments": ""}},
        {"function_call": {"arguments": '{"ci'}},
        {"function_call": {"arguments": 'ty":"Paris"}'}},
    ]
    assert chunks(turn, FUNCTIONS)[-1]["choices"][0]["finish_reason"] == "function_call"
    told = whole(turn, FUNCTIONS)
    assert told["message"]["function_call"] == {"name": "get_weather", "arguments": '{"city":"Paris"}'}
    assert (told["finish_reason"], "tool_calls" in told["message"]) == ("function_call", False)


def test_a_function_call_is_the_first_one_only():
    turn = [STARTED, *call("call_1", "get_time"), *WEATHER, WAITING]
    assert deltas(turn, FUNCTIONS) == [
        {"function_call": {"name": "get_time", "arguments": ""}},
        {"function_call": {"arguments": "{}"}},
    ]
    assert whole(turn, FUNCTIONS)["message"]["function_call"] == {"name": "get_time", "arguments": "{}"}

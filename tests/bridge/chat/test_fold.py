"""Events to a whole reply."""

import pytest

from bridge.chat.errors import ConnectionLost
from bridge.chat.events import (
    Failed,
    Finished,
    FinishReason,
    KeepAlive,
    Started,
    TextDelta,
    ThinkingDelta,
    TokenUsage,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
)
from bridge.chat.fold import Call, Text, Thinking, WholeReply, fold

STARTED = Started("w1-i1", "org_auto", "new", 0, 5)
USAGE = TokenUsage(5, 2, "upstream")


def test_all_texts_are_joined():
    events = [
        STARTED,
        TextDelta("Hel"),
        KeepAlive(),
        TextDelta("lo"),
        Finished(FinishReason.STOP_SEQUENCE, USAGE, "END"),
    ]
    assert fold(events) == WholeReply([Text("Hello")], FinishReason.STOP_SEQUENCE, USAGE, "END")


def test_a_reply_may_be_empty():
    assert fold([STARTED, Finished(FinishReason.STOP, USAGE)]) == WholeReply([], FinishReason.STOP, USAGE)


def test_a_failed_turn_raises_its_error():
    error = ConnectionLost("gone")
    with pytest.raises(ConnectionLost) as raised:
        fold([STARTED, TextDelta("half"), Failed(error)])
    assert raised.value is error


def test_events_without_an_ending_are_a_bug():
    with pytest.raises(ValueError, match="ending"):
        fold([STARTED, TextDelta("half")])


def test_parts_keep_order_and_adjacent_ones_join():
    reply = fold([
        STARTED, ThinkingDelta("Let "), ThinkingDelta("me."), TextDelta("I "), TextDelta("look."),
        ToolCallStarted("call_1", "look"), ToolCallDelta('{"a"'), KeepAlive(), ToolCallDelta(":1}"), ToolCallEnded(),
        ToolCallStarted("call_2", "sh", "space", custom=True), ToolCallDelta("ls"), ToolCallEnded(), TextDelta("Done."),
        Finished(FinishReason.TOOL_CALLS, USAGE),
    ])  # fmt: skip
    assert reply.parts == [
        Thinking("Let me."),
        Text("I look."),
        Call("call_1", "look", '{"a":1}', complete=True),
        Call("call_2", "sh", "ls", "space", custom=True, complete=True),
        Text("Done."),
    ]
    assert (reply.text, reply.thinking) == ("I look.Done.", "Let me.")
    assert [call.id for call in reply.calls] == ["call_1", "call_2"]


def test_cut_off_call_is_not_complete():
    cut = [STARTED, ToolCallStarted("call_1", "look"), ToolCallDelta('{"a'), Finished(FinishReason.LENGTH, USAGE)]
    assert fold(cut).calls == [Call("call_1", "look", '{"a', complete=False)]


def test_two_calls_without_arguments_are_two():
    calls = [ToolCallStarted("call_1", "a"), ToolCallEnded(), ToolCallStarted("call_2", "b"), ToolCallEnded()]
    reply = fold([STARTED, *calls, Finished(FinishReason.TOOL_CALLS, USAGE)])
    assert reply.calls == [Call("call_1", "a", complete=True), Call("call_2", "b", complete=True)]

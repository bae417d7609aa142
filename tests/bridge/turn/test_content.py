"""What is kept of a turn: neutral, bounded, told where it was cut."""

import pytest

from accounts.content.turn_content import Picture, packed, unpacked
from bridge.chat.errors import Unavailable
from bridge.chat.events import (
    Failed,
    KeepAlive,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
)
from bridge.chat.request import ChatRequest, Message, Tool, ToolCall
from bridge.turn.content import HALF, MOST, OVERHEAD, ReplyLog, content_of

PNG = "data:image/png;base64," + "A" * 398 + "=="


def logged(*events, size=1):
    reply = ReplyLog()
    for start in range(0, len(events), size):
        reply.add(events[start : start + size])
    return reply


def shown(reply):
    return [(piece.kind, piece.name, piece.text) for piece in reply.pieces()]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_parts_come_in_their_order(size):
    events = [
        ThinkingDelta("Let me "), ThinkingDelta("see."), KeepAlive(), TextDelta("First "), TextDelta("this."),
        ToolCallStarted("call_1", "read"), ToolCallDelta('{"path":'), ToolCallDelta('"a"}'), ToolCallEnded(),
        ToolCallStarted("call_2", "list"), ToolCallEnded(), TextDelta("Done."), Failed(Unavailable("Lost.")),
    ]  # fmt: skip
    assert shown(logged(*events, size=size)) == [
        ("thinking", "", "Let me see."), ("text", "", "First this."), ("call", "read", '{"path":"a"}'),
        ("call", "list", ""), ("text", "", "Done."), ("error", "", "Lost."),
    ]  # fmt: skip


@pytest.mark.parametrize("length", [1, 9, 5000, 10 * MOST])
def test_long_reply_is_cut_in_the_middle(length):
    words = ("word " * (length // 5 + 1))[:length]
    count = 4 * MOST // length + 1
    reply = logged(TextDelta("The beginning. "), *[TextDelta(words)] * count, TextDelta(" The end."), size=50)
    first, gap, last = reply.pieces()
    assert first.text.startswith("The beginning. ")
    assert last.text.endswith(" The end.")
    assert gap.kind == "gap"
    kept = len(first.text) + len(last.text)
    total = len("The beginning. ") + count * length + len(" The end.")
    assert total - kept - 2 * 512 <= gap.left_out <= total - kept
    assert kept <= MOST


def test_whole_parts_beside_the_gap_stay_whole():
    """What was not cut loses no word for fear of half a secret: a call without blanks would lose all it was given."""
    before = ThinkingDelta("word " * ((HALF - 2 * OVERHEAD - 100) // 5))
    reply = logged(
        before, ToolCallStarted("call_1", "read"), ToolCallDelta("a" * 100), ToolCallEnded(),
        *[TextDelta("word " * 1000)] * 100,
        ToolCallStarted("call_2", "list"), ToolCallDelta("b" * 100), ToolCallEnded(), TextDelta("c" * (HALF - 500)),
    )  # fmt: skip
    assert shown(reply) == [
        ("thinking", "", before.text), ("call", "read", "a" * 100), ("gap", "", ""), ("call", "list", "b" * 100),
        ("text", "", "c" * (HALF - 500)),
    ]  # fmt: skip


def test_many_parts_are_bounded_too():
    reply = logged(*[TextDelta("a"), ThinkingDelta("b")] * 100_000, TextDelta("The end."), size=1000)
    pieces = reply.pieces()
    assert len(pieces) < 3000
    assert pieces[-1].text == "The end."
    assert any(piece.kind == "gap" for piece in pieces)


def test_reply_of_the_bound_is_whole():
    text = "word " * (HALF // 5)
    assert shown(logged(TextDelta(text))) == [("text", "", text)]


def request(*messages, **more):
    return ChatRequest("org_auto", messages, **more)


def test_request_is_kept_as_it_was_understood():
    said = content_of(
        request(
            Message("system", "Be brief."),
            Message("user", "Look: [image] [image]", images=(PNG, "https://example.com/secret.png?sig=1")),
            Message("assistant", "", tool_calls=(ToolCall("call_1", "read", '{"path":"a"}'),)),
            Message("tool", "content of a", tool_call_id="call_1"),
            tools=(Tool("read", "Reads a file.", b'{"type":"object"}'), Tool("mcp_list", wire_name="list")),
        ),
        logged(TextDelta("Hi.")),
    )
    assert [(each.role, each.text) for each in said.messages] == [
        ("system", "Be brief."), ("user", "Look: [image] [image]"), ("assistant", ""), ("tool", "content of a")
    ]  # fmt: skip
    assert said.messages[1].pictures == [Picture("image/png", 298), Picture()]
    assert (said.messages[2].calls[0].name, said.messages[2].calls[0].arguments) == ("read", '{"path":"a"}')
    assert said.messages[3].answers == "call_1"
    assert said.tools == ["read", "list"]
    assert unpacked(packed(said)) == said
    assert b"AAAA" not in packed(said)
    assert b"example.com" not in packed(said)


def test_long_request_is_cut_in_its_largest_texts():
    said = content_of(
        request(Message("system", "Be brief."), Message("user", "word " * 100_000), Message("user", "Go.")), logged()
    )
    assert (said.messages[0].text, said.messages[2].text) == ("Be brief.", "Go.")
    assert "characters left out" in said.messages[1].text
    assert sum(len(each.text) for each in said.messages) <= MOST + 100


def test_content_keeps_both_ends_of_many_messages():
    said = content_of(request(*(Message("user", f"number {number}") for number in range(20_000))), logged())
    assert len(said.messages) == 401
    assert said.messages[0].text == "number 0"
    assert said.messages[-1].text == "number 19999"
    assert [each.left_out for each in said.messages if each.role == "gap"] == [19_600]

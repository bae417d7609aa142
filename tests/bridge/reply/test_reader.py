"""One reply of the service, as the client may hear it."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.chat.events import (
    KeepAlive,
    LingmaToolCall,
    Overwritten,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
)
from bridge.chat.request import AUTO, Tool, ToolChoice
from bridge.reply.call_assembly import ToolOffer
from bridge.reply.read_options import ReadOptions
from bridge.reply.reader import Reader
from tests.bridge.reply.streams import sliced

DELIMITER_ID = "n0nce12345"
TOOLS = (Tool("read", wire_name="Read"),)
COUNT = Tool("count", schema=b'{"properties":{"n":{"type":"integer"},"x":{"type":"number"}}}')
CALL = f'<call:{DELIMITER_ID}>{{"name":"read","arguments":{{"path":"ä.txt"}}}}</call:{DELIMITER_ID}>'
REPLY = f"<think>Hm,\nwell.</think>Let me look.\n\n{CALL}\n"


def reader(**options):
    ids = itertools.count(1)
    return Reader(ReadOptions(**options), lambda: f"call_{next(ids)}")


def offering(**options):
    return reader(offer=ToolOffer(TOOLS, AUTO, True, DELIMITER_ID, True), tools=TOOLS, **options)


def read(reply, *texts):
    return reply.feed([TextDelta(text) for text in texts]) + reply.end()


def of(kind, events):
    return "".join(event.text for event in events if isinstance(event, kind))


def test_plain_text_goes_through():
    reply = reader()
    assert read(reply, "Hel", "lo") == [TextDelta("Hel"), TextDelta("lo")]
    assert reply.text == "Hello"


def test_adjacent_texts_are_joined_where_calls_may_come():
    assert read(offering(), "Hel", "lo ", "you") == [TextDelta("Hello you")]


def test_reasoning_is_sent_on_request():
    events = read(reader(thinking=True), "<think>Hm.</think>", "Yes.")
    assert (of(ThinkingDelta, events), of(TextDelta, events)) == ("Hm.", "Yes.")


def test_reasoning_is_swallowed_otherwise():
    reply = reader()
    events = reply.feed([ThinkingDelta("Hm."), KeepAlive(), TextDelta("Yes.")])
    assert events == [KeepAlive(), TextDelta("Yes.")]
    assert reply.reasoning == "Hm."


def test_calls_have_clients_name_outside_and_ours_inside():
    reply = offering()
    events = read(reply, CALL)
    assert [event.name for event in events if isinstance(event, ToolCallStarted)] == ["Read"]
    assert (reply.calls, reply.calls_wait) == ([("call_1", "read")], True)


def test_reasoning_holds_no_calls():
    reply = offering(thinking=True)
    events = read(reply, f"<think>{CALL}</think>Done.")
    assert (reply.calls, of(TextDelta, events)) == ([], "Done.")


DRAFT = f"I write <call:{DELIMITER_ID}>{{}}, so n0 and n0nce1234"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("tags", [False, True])
@pytest.mark.parametrize("offers", [False, True])
@pytest.mark.parametrize("stream", [False, True])
def test_reasoning_never_shows_the_delimiter_id(size, tags, offers, stream):
    options = {"thinking": True, "stream": stream, "tools": TOOLS}
    if offers:
        options["offer"] = ToolOffer(TOOLS, AUTO, True, DELIMITER_ID, True)
    reply = Reader(ReadOptions(**options), lambda: "call_1", DELIMITER_ID)
    if tags:
        pieces = [TextDelta(piece) for piece in sliced(f"<think>{DRAFT}</think>n0 it is.", size)]
    else:
        pieces = [*(ThinkingDelta(piece) for piece in sliced(DRAFT, size)), TextDelta("n0 it is.")]
    events = [event for piece in pieces for event in reply.feed([piece])] + reply.end()
    assert of(ThinkingDelta, events) == "I write <call:…>{}, so n0 and …"
    assert (of(TextDelta, events), reply.reasoning) == ("n0 it is.", DRAFT)
    assert type(events[-1]) is TextDelta


def test_reasoning_inside_a_call_does_not_tear_it():
    reply = offering(thinking=True)
    half = CALL[: CALL.index(".txt")]
    events = reply.feed([TextDelta(half)]) + reply.feed([ThinkingDelta("Hm.")])
    events += reply.feed([TextDelta(CALL[len(half) :]), ThinkingDelta("Done.")]) + reply.end()
    assert (of(ThinkingDelta, events), reply.reasoning) == ("Done.", "Hm.Done.")
    assert (reply.arguments, reply.calls) == ('{"path":"ä.txt"}', [("call_1", "read")])


def test_lingma_calls_are_sent_only_where_shown():
    ran = LingmaToolCall("s1", "list_dir", b'{"path":"."}', "finished", b'[{"content":"a"}]')
    assert "list_dir" in of(TextDelta, reader(lingma_calls="text").feed([ran]))
    assert reader().feed([ran]) == []


@given(st.lists(st.integers(0, len(REPLY)), max_size=12), st.integers(1, 4))
def test_reply_events_do_not_depend_on_slicing(cuts, at_once):
    edges = [0, *sorted(cuts), len(REPLY)]
    pieces = [TextDelta(REPLY[low:high]) for low, high in itertools.pairwise(edges) if high > low]
    reply = offering(thinking=True)
    batches = [pieces[at : at + at_once] for at in range(0, len(pieces), at_once)]
    events = [event for batch in batches for event in reply.feed(batch)] + reply.end()
    assert (of(ThinkingDelta, events), of(TextDelta, events).strip()) == ("Hm,\nwell.", "Let me look.")
    assert (reply.arguments, reply.calls) == ('{"path":"ä.txt"}', [("call_1", "read")])


def forcing(**options):
    return reader(forced=TOOLS[0], tools=TOOLS, lingma_calls="text", **options)


def test_agent_answer_of_bare_arguments_is_the_call():
    reply = forcing()
    assert reply.feed([TextDelta('{"path":'), TextDelta('"a"}')]) == []
    assert [type(event).__name__ for event in reply.end()] == ["ToolCallStarted", "ToolCallDelta", "ToolCallEnded"]
    assert (reply.calls, reply.arguments, reply.text) == ([("call_1", "read")], '{"path":"a"}', "")
    assert (reply.calls_wait, reply.outcomes) == (True, {"parsed": 1})


def test_other_agent_answer_comes_at_its_end():
    reply = forcing()
    assert reply.feed([TextDelta("It is "), TextDelta("{}")]) == []
    assert (of(TextDelta, reply.end()), reply.calls_wait) == ("It is {}", False)


def test_agent_that_called_needs_no_bare_arguments():
    reply = forcing()
    events = reply.feed([TextDelta("{}"), LingmaToolCall("c1", "ls", b"{}", "finished", b'"x"')])
    assert of(TextDelta, [*events, *reply.feed([TextDelta("{}")]), *reply.end()]).endswith("x]\n{}")
    assert reply.calls == []


@pytest.mark.parametrize("at_once", [True, False])
def test_reasoning_that_only_ends_is_dropped_from_whole(at_once):
    reply = reader(thinking=True, stream=False)
    texts = ["Let me weigh it.\n", "</think>\n", "\nThe answer."]
    events = [] if at_once else reply.feed([TextDelta(texts[0])])
    events = reply.feed([TextDelta(text) for text in (texts if at_once else texts[1:])]) + reply.end()
    assert reply.taken_back
    assert (of(ThinkingDelta, events), of(TextDelta, events)) == ("Let me weigh it.\n", "The answer.")
    assert (reply.text, reply.reasoning) == ("The answer.", "Let me weigh it.\n")


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_a_stream_that_wants_reasoning_holds_its_beginning(size):
    reply, text = reader(thinking=True), "Let me weigh it.\n</think>\n\nThe answer."
    events = [event for piece in sliced(text, size) for event in reply.feed([TextDelta(piece)])] + reply.end()
    assert (of(ThinkingDelta, events), of(TextDelta, events)) == ("Let me weigh it.\n", "The answer.")


def test_beginning_held_is_bounded_and_ends_with_reasoning():
    reply = reader(thinking=True)
    assert reply.feed([TextDelta("x" * 400)]) == []
    assert of(TextDelta, reply.feed([TextDelta("y")])) == "x" * 400 + "y"
    other = reader(thinking=True)
    events = other.feed([ThinkingDelta("Hm."), TextDelta("Yes")])
    assert events == [ThinkingDelta("Hm."), TextDelta("Yes")]


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_reasoning_streamed_as_text_leaves_out_the_tag(size):
    reply = reader()
    text = "Let me weigh it.</think>The answer."
    events = [event for piece in sliced(text, size) for event in reply.feed([TextDelta(piece)])] + reply.end()
    assert of(TextDelta, events) == "Let me weigh it.\n\nThe answer."


@pytest.mark.parametrize("tools", [(), TOOLS])
def test_a_draft_is_none_of_a_whole_answer(tools):
    offer = ToolOffer(TOOLS, AUTO, True, DELIMITER_ID, False) if tools else None
    reply = reader(offer=offer, tools=tools, stream=False)
    reply.feed([TextDelta("A draft. " + CALL)])
    events = reply.feed([Overwritten("The "), TextDelta("answer.")]) + reply.end()
    assert reply.taken_back
    assert (of(TextDelta, events), reply.text, reply.calls) == ("The answer.", "The answer.", [])


def test_stream_sends_the_replacement_behind_a_draft():
    reply = reader()
    events = reply.feed([TextDelta("A draft.")]) + reply.feed([Overwritten("The answer.")]) + reply.end()
    assert (of(TextDelta, events), reply.taken_back) == ("A draft.\n\nThe answer.", False)


def test_unsent_draft_is_forgotten():
    reply = reader(offer=ToolOffer(TOOLS, ToolChoice("required"), True, DELIMITER_ID, True), tools=TOOLS)
    events = reply.feed([TextDelta("A draft.")]) + reply.feed([Overwritten(CALL)]) + reply.end()
    assert (of(TextDelta, events), [name for _, name in reply.calls]) == ("", ["read"])


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("size", [1, 4, 1000])
def test_call_numbers_follow_their_schema(size, stream):
    reply = reader(offer=ToolOffer((COUNT,), AUTO, True, DELIMITER_ID, stream), tools=(COUNT,), stream=stream)
    call = f'<call:{DELIMITER_ID}>{{"name":"count","arguments":{{"n":2.0,"x":2.0}}}}</call:{DELIMITER_ID}>'
    events = [event for piece in sliced(call, size) for event in reply.feed([TextDelta(piece)])] + reply.end()
    assert reply.arguments == of(ToolCallDelta, events) == '{"n":2,"x":2.0}'
    assert isinstance(events[-1], ToolCallEnded)


def test_lingma_call_numbers_follow_their_schema():
    called = LingmaToolCall("c1", "count", b'{"n":1e3,"x":1.0}', "pending", runner="client")
    reply = reader(lingma_calls="calls", tools=(COUNT,), stream=False)
    assert '"n":1000' in of(ToolCallDelta, [*reply.feed([called]), *reply.end()]).replace(" ", "")

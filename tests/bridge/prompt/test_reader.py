"""One reply of the service, as the client may hear it."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from bridge.chat.events import KeepAlive, ServiceCall, TextDelta, ThinkingDelta, ToolCallStarted
from bridge.chat.request import AUTO, Tool
from bridge.prompt.emulation import Offer
from bridge.prompt.reader import Reader, ReadOptions

NONCE = "n0nce12345"
TOOLS = (Tool("read", wire_name="Read"),)
CALL = f'<call:{NONCE}>{{"name":"read","arguments":{{"path":"ä.txt"}}}}</call:{NONCE}>'
REPLY = f"<think>Hm,\nwell.</think>Let me look.\n\n{CALL}\n"


def reader(**options):
    ids = itertools.count(1)
    return Reader(ReadOptions(**options), lambda: f"call_{next(ids)}")


def offering(**options):
    return reader(offer=Offer(TOOLS, AUTO, True, NONCE, True), tools=TOOLS, **options)


def read(reply, *texts):
    return reply.feed([TextDelta(text) for text in texts]) + reply.end()


def of(kind, events):
    return "".join(event.text for event in events if isinstance(event, kind))


def test_plain_text_goes_through():
    reply = reader()
    assert read(reply, "Hel", "lo") == [TextDelta("Hel"), TextDelta("lo")]
    assert reply.text == "Hello"


def test_where_calls_may_come_texts_that_came_together_are_told_as_one():
    assert read(offering(), "Hel", "lo ", "you") == [TextDelta("Hello you")]


def test_reasoning_is_told_to_who_wants_it():
    events = read(reader(thinking=True), "<think>Hm.</think>", "Yes.")
    assert (of(ThinkingDelta, events), of(TextDelta, events)) == ("Hm.", "Yes.")


def test_reasoning_is_swallowed_otherwise():
    reply = reader()
    events = reply.feed([ThinkingDelta("Hm."), KeepAlive(), TextDelta("Yes.")])
    assert events == [KeepAlive(), TextDelta("Yes.")]
    assert reply.thoughts == "Hm."


def test_calls_are_told_under_the_clients_name_and_remembered_under_ours():
    reply = offering()
    events = read(reply, CALL)
    assert [event.name for event in events if isinstance(event, ToolCallStarted)] == ["Read"]
    assert (reply.calls, reply.calls_wait) == ([("call_1", "read")], True)


def test_reasoning_holds_no_calls():
    reply = offering(thinking=True)
    events = read(reply, f"<think>{CALL}</think>Done.")
    assert (reply.calls, of(TextDelta, events)) == ([], "Done.")


def test_reasoning_in_the_middle_of_a_call_does_not_tear_it():
    reply = offering(thinking=True)
    half = CALL[: CALL.index(".txt")]
    events = reply.feed([TextDelta(half)]) + reply.feed([ThinkingDelta("Hm.")])
    events += reply.feed([TextDelta(CALL[len(half) :]), ThinkingDelta("Done.")]) + reply.end()
    assert (of(ThinkingDelta, events), reply.thoughts) == ("Done.", "Hm.Done.")
    assert (reply.arguments, reply.calls) == ('{"path":"ä.txt"}', [("call_1", "read")])


def test_calls_of_the_service_are_told_only_where_they_are_shown():
    ran = ServiceCall("s1", "list_dir", b'{"path":"."}', "finished", b'[{"content":"a"}]')
    assert "list_dir" in of(TextDelta, reader(service_calls="text").feed([ran]))
    assert reader().feed([ran]) == []


@given(st.lists(st.integers(0, len(REPLY)), max_size=12), st.integers(1, 4))
def test_every_way_to_slice_a_reply_tells_the_same(cuts, at_once):
    edges = [0, *sorted(cuts), len(REPLY)]
    pieces = [TextDelta(REPLY[low:high]) for low, high in itertools.pairwise(edges) if high > low]
    reply = offering(thinking=True)
    batches = [pieces[at : at + at_once] for at in range(0, len(pieces), at_once)]
    events = [event for batch in batches for event in reply.feed(batch)] + reply.end()
    assert (of(ThinkingDelta, events), of(TextDelta, events).strip()) == ("Hm,\nwell.", "Let me look.")
    assert (reply.arguments, reply.calls) == ('{"path":"ä.txt"}', [("call_1", "read")])


def forcing(**options):
    return reader(forced=TOOLS[0], forced_id="call_fallback_0", tools=TOOLS, service_calls="text", **options)


def test_the_answer_of_an_agent_that_is_nothing_but_arguments_is_the_call_of_a_forced_tool():
    reply = forcing()
    assert reply.feed([TextDelta('{"path":'), TextDelta('"a"}')]) == []
    assert [type(event).__name__ for event in reply.end()] == ["ToolCallStarted", "ToolCallDelta", "ToolCallEnded"]
    assert (reply.calls, reply.arguments, reply.text) == ([("call_fallback_0", "read")], '{"path":"a"}', "")
    assert (reply.calls_wait, reply.outcomes) == (True, {"parsed": 1})


def test_any_other_answer_of_an_agent_is_told_at_its_end():
    reply = forcing()
    assert reply.feed([TextDelta("It is "), TextDelta("{}")]) == []
    assert (of(TextDelta, reply.end()), reply.calls_wait) == ("It is {}", False)


def test_an_agent_that_called_a_tool_has_not_answered_by_arguments():
    reply = forcing()
    events = reply.feed([TextDelta("{}"), ServiceCall("c1", "ls", b"{}", "finished", b'"x"')])
    assert of(TextDelta, [*events, *reply.feed([TextDelta("{}")]), *reply.end()]).endswith("x]\n{}")
    assert reply.calls == []

"""Under which fingerprints a conversation is looked for and kept."""

import msgspec
import pytest

from bridge.chat.request import ChatRequest, ClientIds, Message, Tool, ToolCall, ToolChoice
from bridge.prompt.compose import split_reply
from bridge.turn.history import History
from sessions_store.fingerprint import MOST_CHANGING
from sessions_store.store import Knowledge

ID = "call_0a1b2c3d4e5f60718293a4b5"
HI, HELLO, BYE = Message("user", "Hi"), Message("assistant", "Hello"), Message("user", "Bye")
CALLED = Message("assistant", "", (ToolCall(ID, "save", "{}"),))
SAVED = Message("tool", "ok", tool_call_id=ID)
TOOL = Tool("save", "Saves.")
PROVEN = ClientIds(("session-id x",), proven=True)


def history(*messages, **fields):
    return History(ChatRequest("m", messages, **fields), 1, *split_reply(messages))


def kept(*messages, answer="Hello", calls=(), arguments="", **fields):
    return history(*messages, **fields).answered(answer, calls, arguments)


def places(*messages, **fields):
    return [*history(*messages, **fields).places()]


def test_kept_session_is_where_next_turn_looks():
    assert [kept(HI).key] == places(HI, HELLO, BYE)
    assert [kept(HI, ids=PROVEN).key] == places(HI, HELLO, BYE, ids=PROVEN)
    assert kept(HI, answer="", calls=[(ID, "save")]).key == places(HI, CALLED, SAVED)[0]


def test_conversation_needs_call_or_id_as_proof():
    assert [kept(HI).proven, kept(HI, ids=PROVEN).proven, kept(HI, calls=[(ID, "save")]).proven] == [0, 1, 1]
    assert not kept(HI, CALLED, SAVED).proven  # the call may have been made up by the client


def test_foreign_ids_are_not_looked_for_loosely():
    short = Message("assistant", "", (ToolCall("call_1", "save", "{}"),))
    assert [len(places(HI, each, SAVED)) for each in (short, CALLED)] == [1, 2]


def test_a_session_that_proved_itself_stays_so():
    going_on = history(HI, CALLED, SAVED)
    going_on.proven = True
    assert going_on.answered("Saved.", (), "").proven
    assert going_on.answered("Saved.", (), "").key != kept(HI, CALLED, SAVED, answer="Saved.").key


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": (TOOL,)},
        {"tools": (Tool("save", "Keeps."),)},
        {"tools": (TOOL,), "tool_choice": ToolChoice("required")},
        {"tools": (TOOL,), "tool_choice": ToolChoice("named", "save")},
        {"tools": (TOOL,), "parallel_tool_calls": False},
        {"reply_schema": b"{}"},
        {"reply_schema": b'{"type":"object"}'},
    ],
)
def test_unproven_conversation_counts_all_beside_messages(fields):
    assert kept(HI, **fields).key != kept(HI).key
    assert kept(HI, **fields).key not in places(HI, HELLO, BYE)
    assert kept(HI, **fields).key == places(HI, HELLO, BYE, **fields)[0]
    assert kept(HI, ids=PROVEN, **fields).key == kept(HI, ids=PROVEN).key


def test_unsent_parts_may_come_later():
    assert places(HI, HELLO, BYE, tools=(TOOL,))[1:] == [kept(HI).key]


def test_image_address_may_change_its_image():
    seen, shown = (msgspec.structs.replace(HI, images=(url,)) for url in ("https://a/b.png", "DATA:image/png;base64,"))
    assert kept(seen) is None
    assert places(seen, HELLO, BYE) == []
    assert kept(seen, ids=PROVEN) is not None
    assert [kept(shown).key] == places(shown, HELLO, BYE)


def test_calls_without_ids_count_by_their_arguments():
    old = {"returns_call_ids": False}
    said = Message("assistant", "", (ToolCall("save", "save", '{"a":1}'),))
    made = kept(HI, answer="", calls=[(ID, "save")], arguments='{"a":1}', **old)
    assert (made.key, made.proven) == (places(HI, said, SAVED)[-1], False)
    assert kept(HI, calls=[("1", "save"), ("2", "save")], arguments="{}{}", **old) is None


def test_too_many_changes_are_sent_whole():
    many = Message("user", "".join(f"<system-reminder>{n}</system-reminder>" for n in range(MOST_CHANGING + 1)))
    assert kept(many, HI, ids=PROVEN) is None
    assert kept(many, HI).key == places(many, HI, HELLO, BYE)[0]


def test_changed_parts_have_their_own_heading():
    late = Message("system", "The folder is /work.")
    told = kept(HI, late, ids=PROVEN).told
    now = [HI, Message("system", "The folder is /home."), HELLO, BYE]
    for knows, news in ((Knowledge(proven=True, told=told), [now[1]]), (Knowledge(told=told), [])):
        again = history(*now, ids=PROVEN)
        assert len([*again.places()]) == 1
        assert again.untold(knows) == news


def test_continued_prefix_returns_with_the_reply():
    begun = Message("assistant", "Well, ")
    assert kept(HI, begun, answer="yes.\n").key == places(HI, Message("assistant", "Well, yes."), BYE)[0]

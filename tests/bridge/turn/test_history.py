"""Under which fingerprints a conversation is looked for and stored."""

import msgspec
import pytest

from bridge.chat.request import ChatRequest, ClientIds, Message, Tool, ToolCall, ToolChoice
from bridge.prompt.compose import split_reply
from bridge.turn.arguments import digests, edited
from bridge.turn.history import EDITED, History
from sessions_store.fingerprint import DIGEST_LENGTH, MOST_CHANGING
from sessions_store.store import SessionContents

ID = "call_0a1b2c3d4e5f60718293a4b5"
HI, HELLO, BYE = Message("user", "Hi"), Message("assistant", "Hello"), Message("user", "Bye")
CALLED = Message("assistant", "", (ToolCall(ID, "save", "{}"),))
SAVED = Message("tool", "ok", tool_call_id=ID)
TOOL = Tool("save", "Saves.")
PROVEN = ClientIds(("session-id x",), proven=True)


def history(*messages, **fields):
    return History(ChatRequest("m", messages, **fields), 1, *split_reply(messages))


def stored(*messages, answer="Hello", calls=(), given=(), **fields):
    return history(*messages, **fields).key_after(answer, calls, given)


def places(*messages, **fields):
    return [*history(*messages, **fields).places()]


def test_stored_session_is_where_next_turn_looks():
    assert [stored(HI).fingerprint] == places(HI, HELLO, BYE)
    assert [stored(HI, ids=PROVEN).fingerprint] == places(HI, HELLO, BYE, ids=PROVEN)
    assert stored(HI, answer="", calls=[(ID, "save")]).fingerprint == places(HI, CALLED, SAVED)[0]


def test_conversation_needs_call_or_id_as_proof():
    assert [stored(HI).proven, stored(HI, ids=PROVEN).proven, stored(HI, calls=[(ID, "save")]).proven] == [0, 1, 1]
    assert not stored(HI, CALLED, SAVED).proven  # the call may have been made up by the client


def test_foreign_ids_are_not_looked_for_loosely():
    short = Message("assistant", "", (ToolCall("call_1", "save", "{}"),))
    assert [len(places(HI, each, SAVED)) for each in (short, CALLED)] == [1, 2]


def test_a_session_that_proved_itself_stays_so():
    going_on = history(HI, CALLED, SAVED)
    going_on.proven = True
    assert going_on.key_after("Saved.", (), "").proven
    assert going_on.key_after("Saved.", (), "").fingerprint != stored(HI, CALLED, SAVED, answer="Saved.").fingerprint


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
    assert stored(HI, **fields).fingerprint != stored(HI).fingerprint
    assert stored(HI, **fields).fingerprint not in places(HI, HELLO, BYE)
    assert stored(HI, **fields).fingerprint == places(HI, HELLO, BYE, **fields)[0]
    assert stored(HI, ids=PROVEN, **fields).fingerprint == stored(HI, ids=PROVEN).fingerprint


def test_unsent_parts_may_come_later():
    assert places(HI, HELLO, BYE, tools=(TOOL,))[1:] == [stored(HI).fingerprint]


def test_image_address_may_change_its_image():
    seen, shown = (msgspec.structs.replace(HI, images=(url,)) for url in ("https://a/b.png", "DATA:image/png;base64,"))
    assert stored(seen) is None
    assert places(seen, HELLO, BYE) == []
    assert stored(seen, ids=PROVEN) is not None
    assert [stored(shown).fingerprint] == places(shown, HELLO, BYE)


def test_calls_without_ids_count_by_their_arguments():
    old = {"returns_call_ids": False}
    called = Message("assistant", "", (ToolCall("save", "save", '{"a":1}'),))
    made = stored(HI, answer="", calls=[(ID, "save")], given=['{"a":1}'], **old)
    assert (made.fingerprint, made.proven) == (places(HI, called, SAVED)[-1], False)
    assert stored(HI, calls=[("1", "save"), ("2", "save")], given=["{}", "{}"], **old) is None


def test_changes_beyond_the_bound_are_sent_whole():
    many = Message("user", "".join(f"<system-reminder>{n}</system-reminder>" for n in range(MOST_CHANGING + 1)))
    assert stored(many, HI, ids=PROVEN) is None
    assert stored(many, HI).fingerprint == places(many, HI, HELLO, BYE)[0]


def test_changed_parts_have_their_own_heading():
    late = Message("system", "The folder is /work.")
    sent = stored(HI, late, ids=PROVEN).sent
    now = [HI, Message("system", "The folder is /home."), HELLO, BYE]
    for knows, changes in (
        (SessionContents(proven=True, changing_sent=sent), [now[1]]),
        (SessionContents(changing_sent=sent), []),
    ):
        again = history(*now, ids=PROVEN)
        assert len([*again.places()]) == 1
        assert again.changes(knows) == changes


def test_continued_prefix_returns_with_the_reply():
    begun = Message("assistant", "Well, ")
    assert stored(HI, begun, answer="yes.\n").fingerprint == places(HI, Message("assistant", "Well, yes."), BYE)[0]


RESULT = Message("tool", "ok", tool_call_id=ID)
DONE, ASK = Message("assistant", "Done."), Message("user", "More?")
BEGUN = (HI, CALLED, RESULT, DONE)


def after_call(*messages, answer="Done.", given=(), calls=(), **fields):
    """Where an answer is kept in a conversation whose last call has come back."""
    going_on = history(*messages, **fields)
    going_on.proven = True
    return going_on.key_after(answer, calls, given)


def test_answer_after_call_is_looked_for_there():
    stored = after_call(HI, CALLED, RESULT)
    assert stored.proven
    assert stored.fingerprint == places(*BEGUN, ASK)[0]
    later = after_call(*BEGUN, ASK, answer="Yes.")
    assert later.fingerprint == places(*BEGUN, ASK, Message("assistant", "Yes."), HI)[0]
    assert later.fingerprint != stored.fingerprint


def remind(message):
    return msgspec.structs.replace(message, text=f"<system-reminder>x</system-reminder>{message.text}")


LATE = Message("system", "You talk to Alice.")


@pytest.mark.parametrize(
    "other",
    [
        (HI, CALLED, RESULT, LATE), (HI, CALLED, LATE, RESULT), (HI, CALLED, remind(RESULT)),
        (remind(HI), CALLED, RESULT),
        (HI, LATE, CALLED, RESULT), (HI, CALLED, msgspec.structs.replace(RESULT, text="ok ")),
        (HI, msgspec.structs.replace(CALLED, tool_calls=(ToolCall(ID, "save", '{"a":1}'),)), RESULT),
    ],
)  # fmt: skip
def test_place_after_a_call_is_exact(other):
    assert after_call(*other).fingerprint != after_call(HI, CALLED, RESULT).fingerprint
    assert after_call(*other).fingerprint == places(*other, DONE, ASK)[0]


@pytest.mark.parametrize("fields", [{"tools": (TOOL,)}, {"tools": (Tool("save", "Alice's"),)}, {"reply_schema": b"{}"}])
def test_tools_and_demands_count_after_call(fields):
    stored = after_call(HI, CALLED, RESULT, **fields).fingerprint
    assert stored == places(*BEGUN, ASK, **fields)[0]
    assert stored not in places(*BEGUN, ASK)
    assert stored not in places(*BEGUN, ASK, tools=(Tool("save", "Bob's"),))
    assert after_call(HI, CALLED, RESULT).fingerprint in places(*BEGUN, ASK, **fields)  # it was sent no others


def test_choice_among_tools_is_for_one_reply():
    stored = after_call(HI, CALLED, RESULT, tools=(TOOL,), tool_choice=ToolChoice("none")).fingerprint
    assert stored == places(*BEGUN, ASK, tools=(TOOL,))[0]


def test_next_call_proves_all_before_it():
    other = "call_ffffffffffffffffffffffff"
    called = Message("assistant", "", (ToolCall(other, "save", "{}"),))
    stored = after_call(*BEGUN, LATE, ASK, answer="", calls=[(other, "save")], given=["{}"]).fingerprint
    assert stored == places(*BEGUN, LATE, ASK, called, RESULT)[0] == places(*BEGUN, ASK, called, RESULT)[0]


def test_call_and_text_may_be_two_messages():
    parts = (Message("assistant", "I save it."), CALLED, Message("assistant", " Now."))
    made = stored(HI, answer="I save it. Now.", calls=[(ID, "save")], given=["{}"])
    assert made.fingerprint == places(HI, *parts, RESULT)[0]


def test_image_address_after_call_may_change_its_image():
    seen = Message("user", "[image]", images=("https://a/b.png",))
    assert after_call(*BEGUN, seen) is None
    assert places(*BEGUN, seen, DONE, ASK) == []
    assert after_call(seen, *BEGUN[1:], ASK) is not None


@pytest.mark.parametrize(("now", "fits"), [((HI, LATE), True), ((HI, LATE, HI, LATE), True), ((HI,), False)])
def test_withdrawn_system_message_stays_in_force(now, fits):
    stored_key = stored(HI, LATE, ids=PROVEN)
    again = history(*now, HELLO, BYE, ids=PROVEN)
    assert [*again.places()]
    assert again.fits(SessionContents(proven=True, late=stored_key.late)) is fits
    assert again.fits(SessionContents(proven=True))


def test_date_of_a_later_system_message_may_change():
    texts = [f"Folder /work.\nToday's date: 2026-11-{day}" for day in (22, 23)]
    stored_key = stored(HI, Message("system", texts[0]), ids=PROVEN)
    again = history(HI, Message("system", texts[1]), HELLO, BYE, ids=PROVEN)
    assert [*again.places()] == [stored_key.fingerprint]
    assert again.fits(SessionContents(proven=True, late=stored_key.late))


def test_edited_calls_are_sent_once():
    made = stored(HI, calls=[(ID, "save"), ("call_1", "save")], given=['{"a":1,"b":2.0}', ""])
    calls = (ToolCall(ID, "save", '{"b": 2, "a": 3}'), ToolCall("call_1", "save", " {} "))
    knows = SessionContents(proven=True, changing_sent=made.sent, given=made.given)
    going_on = history(HI, Message("assistant", "Hello", calls), SAVED)
    assert going_on.places().__next__() == made.fingerprint
    assert going_on.changes(knows) == [Message("system", EDITED, calls[:1])]
    stored_key = going_on.key_after("", [(ID[:-1] + "c", "save")], ["{}"])
    assert stored_key.given[:16] != made.given
    assert len(stored_key.given) == 24


@pytest.mark.parametrize(
    "arguments", ["{", "[1", '{"a":1e400}', "[" * 5000, '"\\ud83d"', "\ud83d", "plain text", "1" * 4000]
)
def test_arguments_of_any_kind_are_compared(arguments):
    call = ToolCall(ID, "save", arguments)
    now = digests([arguments])
    assert edited([call], now, digests([arguments])) == ()
    assert edited([call], now, digests(['{"a":1}'])) == (call,)
    assert edited([call], now, "") == ()


def test_latest_calls_alone_are_compared():
    calls = [ToolCall(str(number), "save", f'{{"n":{number}}}') for number in range(5)]
    given = digests(call.arguments for call in calls)[3 * DIGEST_LENGTH :]
    calls[0], calls[4] = (msgspec.structs.replace(calls[n], arguments="{}") for n in (0, 4))
    assert edited(calls, digests(call.arguments for call in calls), given) == (calls[4],)
    assert edited(calls[:4], digests(call.arguments for call in calls[:4]), given[:DIGEST_LENGTH]) == ()


@pytest.mark.parametrize(
    ("arguments", "is_edit"),
    [('{"path":"a","all":false}', False), ('{"path":"a","all":true}', True), ('{"path":"b","all":false}', True),
     ('{"path":"a","other":false}', True), ("{", True), ("[]", True)],
)  # fmt: skip
def test_added_default_is_no_edit(arguments, is_edit):
    tool = Tool("save", schema=b'{"properties":{"path":{"type":"string"},"all":{"default":false}}}')
    call = ToolCall(ID, "save", arguments)
    assert edited([call], digests([arguments]), digests(['{"path":"a"}']), [tool]) == ((call,) if is_edit else ())
    assert edited([call], digests([arguments]), digests(['{"path":"a"}'])) == (call,)

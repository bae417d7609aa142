"""The fingerprints of a conversation: to the letter, and loosely."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessions_store.fingerprint import (
    MOST_CHANGING,
    Changing,
    LooseFingerprint,
    StrictFingerprint,
    tools_digest,
)

TALK = [("system", "Be brief."), ("user", "Hello"), ("assistant", "Hi."), ("user", "Why?")]
KINDS = [StrictFingerprint, LooseFingerprint]
kinds = pytest.mark.parametrize("kind", KINDS, ids=["strict", "loose"])


def fed(kind, *messages, key=1, **more):
    """A fingerprint of messages given as (role, text, fields) or (role, text)."""
    whole = kind(key, **more)
    for role, text, *fields in messages:
        whole.feed(role, text, **(fields[0] if fields else {}))
    return whole


def strict(*messages, **more):
    return fed(StrictFingerprint, *messages, **more).hexdigest()


def of(*messages, **more):
    return fed(LooseFingerprint, *messages, **more).hexdigest()


@kinds
def test_the_same_conversation_has_the_same_fingerprint(kind):
    assert fed(kind, *TALK).hexdigest() == fed(kind, *list(TALK)).hexdigest()


@kinds
def test_another_key_has_another_fingerprint(kind):
    assert fed(kind, *TALK).hexdigest() != fed(kind, *TALK, key=2).hexdigest()


@kinds
def test_clients_that_call_themselves_differently_never_meet(kind):
    seen = {fed(kind, *TALK, ids=ids).hexdigest() for ids in ((), ("user a",), ("user b",), ("user", " a"))}
    assert len(seen) == 4


def test_the_two_kinds_never_meet():
    assert strict(*TALK) != of(*TALK)


@kinds
def test_turn_end_is_prefix_of_the_next(kind):
    grown = fed(kind, *TALK)
    assert grown.hexdigest() == fed(kind, *TALK).hexdigest()
    grown.feed("assistant", "Because.")
    assert grown.hexdigest() == fed(kind, *TALK, ("assistant", "Because.")).hexdigest()


@kinds
def test_half_a_surrogate_pair_is_no_error(kind):
    assert fed(kind, ("user", "\ud83d")).hexdigest() != fed(kind, ("user", "\ud83e")).hexdigest()


# -- to the letter ------------------------------------------------------------------------------------------------

CALL = ("c1", "Read", '{"a":1}')


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("user", "a"), ("user", "a ")),
        (("user", "a\r\nb"), ("user", "a\nb")),
        (("user", "a"), ("system", "a")),
        (("user", "a"), ("user", "<system-reminder>b</system-reminder>a")),
        (("system", "if a:\n  b()\nc()"), ("system", "if a:\n  b()\n  c()")),
        (("system", "Today is 2026-11-22"), ("system", "Today is 2026-11-23")),
        (("system", "x-anthropic-billing-header: a"), ("system", "x-anthropic-billing-header: b")),
        (("assistant", "a b"), ("assistant", "ab")),
        (("assistant", "", {"calls": [CALL]}), ("assistant", "", {"calls": [("c1", "Read", '{"a":2}')]})),
        (("assistant", "", {"calls": [CALL]}), ("assistant", "", {"calls": [("c2", "Read", '{"a":1}')]})),
        (("tool", "a", {"call_id": "c"}), ("tool", "a", {"call_id": "c", "is_error": True})),
        (("user", "a", {"images": ["b"]}), ("user", "a", {"images": ["c"]})),
    ],
)
def test_strict_fingerprint_counts_everything(one, other):
    assert strict(one) != strict(other)


def test_messages_that_are_split_have_other_headings():
    assert strict(("user", "a"), ("user", "b")) != strict(("user", "a\nb"))
    assert strict(("user", "")) != strict()


def test_white_space_around_answers_is_ignored():
    assert strict(("assistant", " Hello.\n")) == strict(("assistant", "Hello."))


@kinds
@pytest.mark.parametrize("length", [1, 1015, 1023, 1024, 5000])
def test_white_space_around_long_answers_is_ignored(kind, length):
    said = [("assistant", text) for text in ("x" * length, f"  {'x' * length}\n" + "\n" * 2000)]
    assert len({fed(kind, TALK[1], each).hexdigest() for each in said}) == 1


def test_extras_of_a_prompt_count():
    assert len({strict(*TALK, extras=extras) for extras in (b"", b"tools", b"tools {}")}) == 3
    assert strict(extras=b"user 1 0 0 0:a") != strict(("user", "a"))


# -- loosely ------------------------------------------------------------------------------------------------------

SYSTEM = ("system", "You are an agent. Today is 2026-11-22.")
FIX = ("user", "Fix the bug of 2026-11-22.")
READ = ("assistant", "I read it.", {"calls": [("call_1", "Read", "{}")]})
SOURCE = ("tool", "x = 1", {"call_id": "call_1"})
AGENTS_TALK = (SYSTEM, FIX, READ, SOURCE)
REMINDER = "<system-reminder>\nKeep your list of tasks.\n</system-reminder>"
LATE = ("system", "Folder /work, 12:30")


@pytest.mark.parametrize(
    "sent_again",
    [
        (("system", "You are an agent. Today is 2026-11-23."), FIX, READ, SOURCE),
        (("system", "x-anthropic-billing-header: cch=1;"), SYSTEM, FIX, READ, SOURCE),
        (("system", REMINDER), SYSTEM, FIX, READ, SOURCE),
        (SYSTEM, FIX, ("assistant", "I read it.", {"calls": [("call_1", "Read", '{"a": 1}')]}), SOURCE),
        (SYSTEM, ("user", REMINDER), FIX, READ, SOURCE),
        (SYSTEM, ("user", f"{REMINDER}\n{FIX[1]}"), READ, SOURCE),
        (SYSTEM, FIX, LATE, READ, SOURCE),
        (SYSTEM, FIX, READ, LATE, SOURCE, LATE),
        (SYSTEM, FIX, READ, ("tool", f"x = 1\n\n{REMINDER}", {"call_id": "call_1"})),
        (SYSTEM, FIX, READ, SOURCE, ("user", REMINDER)),
        (SYSTEM, FIX, ("assistant", "I read it.\n\n", {"calls": [("call_1", "Read", "{}")]}), SOURCE),
        (SYSTEM, FIX, ("assistant", "I read it."), ("assistant", "", {"calls": [("call_1", "Read", "{}")]}), SOURCE),
    ],
)
def test_agent_conversation_is_recognised(sent_again):
    assert of(*sent_again) == of(*AGENTS_TALK)


@pytest.mark.parametrize(
    "other",
    [
        (("system", "You are a poet. Today is 2026-11-22."), FIX, READ, SOURCE),
        (FIX, READ, SOURCE),
        (("system", "You are an agent.  Today is 2026-11-22."), FIX, READ, SOURCE),
        (("system", "You are an agent. Today is 2026-11-22.\nBorn 1980-02-03"), FIX, READ, SOURCE),
        (SYSTEM, ("user", "Fix the bug of 2026-11-23."), READ, SOURCE),
        (SYSTEM, ("user", "Fix the bug of 2026-11-22!"), READ, SOURCE),
        (SYSTEM, FIX, ("assistant", "I wrote it.", {"calls": [("call_1", "Read", "{}")]}), SOURCE),
        (SYSTEM, FIX, ("assistant", "I read it.", {"calls": [("call_2", "Read", "{}")]}), SOURCE),
        (SYSTEM, FIX, ("assistant", "I read it.", {"calls": [("call_1", "Write", "{}")]}), SOURCE),
        (SYSTEM, FIX, ("assistant", "I read it."), SOURCE),
        (SYSTEM, FIX, READ, ("tool", "x = 2", {"call_id": "call_1"})),
        (SYSTEM, FIX, READ, ("tool", "x = 1", {"call_id": "call_2"})),
        (SYSTEM, FIX, READ, ("tool", "x = 1", {"call_id": "call_1", "is_error": True})),
        (SYSTEM, FIX, READ, ("tool", "x = 1", {"call_id": "call_1", "images": ("data:a",)})),
        (SYSTEM, FIX, READ, ("user", "x = 1")),
        (SYSTEM, FIX, SOURCE, READ),
        (SYSTEM, READ, FIX, SOURCE),
        (SYSTEM, FIX, READ),
        (SYSTEM, FIX, READ, SOURCE, ("user", "And?")),
    ],
)
def test_another_conversation_is_another(other):
    assert of(*other) != of(*AGENTS_TALK)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([("user", "a"), ("assistant", "b")], [("user", "aassistant 0 0:b")]),
        ([("user", "a"), ("assistant", "b")], [("user", "aassistant 1 0 0:b")]),
        ([("assistant", "", {"calls": [("ab", "c")]})], [("assistant", "", {"calls": [("a", "bc")]})]),
        ([("assistant", "", {"calls": [("a", "1:b")]})], [("assistant", "", {"calls": [("a1:", "b")]})]),
        ([("assistant", "1:a1:b")], [("assistant", "", {"calls": [("a", "b")]})]),
        ([("user", "a", {"images": ["bc"]})], [("user", "a", {"images": ["b", "c"]})]),
        ([("user", "a2:bc")], [("user", "a", {"images": ["bc"]})]),
        ([("tool", "z 0 0 0 0:", {"call_id": "c"})], [("tool", "", {"call_id": "c 0 10 0 0:z"})]),
        ([("tool", "a", {"call_id": "c", "is_error": True})], [("tool", "a", {"call_id": "c 1"})]),
        ([("system", "a"), ("user", "b")], [("system", "auser 1 0 0:b")]),
    ],
)
def test_borders_cannot_be_imitated(one, other):
    assert of(*one) != of(*other)


def test_images_count_by_content_and_order():
    one, two = (("user", "[image]", {"images": images}) for images in (("data:a", "data:b"), ("data:b", "data:a")))
    assert len({of(one), of(two), of(("user", "[image]")), of(("user", "", {"images": ("data:a",)}))}) == 4


def test_adjacent_messages_of_one_role_are_one_turn():
    assert of(("user", "a"), ("user", "b")) == of(("user", "a\nb"))
    assert of(("user", "a"), LATE, ("user", "b")) == of(("user", "a\nb"))


def test_empty_message_changes_no_fingerprint():
    assert of(("user", ""), ("user", "a")) == of(("user", "a"))
    assert of(("system", " "), ("user", "a")) == of(("user", "a"))


def test_empty_results_are_counted():
    empty = ("tool", "", {"call_id": "c"})
    assert len({of(*[empty] * times) for times in (1, 2, 3)}) == 3


def test_digest_read_midway_changes_nothing():
    whole = LooseFingerprint(1).feed("user", "a")
    assert whole.hexdigest() == whole.hexdigest()
    assert whole.feed("user", "b").hexdigest() == of(("user", "a\nb"))


texts = st.text("ab:1 \n<>/", max_size=6)
names = st.text("ab: 1", max_size=3)
messages = st.one_of(
    st.tuples(st.just("user"), texts, st.fixed_dictionaries({"images": st.lists(names, max_size=2)})),
    st.tuples(
        st.just("assistant"),
        texts,
        st.fixed_dictionaries({"calls": st.lists(st.tuples(names, names, st.just("{}")), max_size=2)}),
    ),
    st.tuples(st.just("tool"), texts, st.fixed_dictionaries({"call_id": names, "is_error": st.booleans()})),
)
talks = st.lists(messages, max_size=4)


def meaning(talk):
    """What counts of a conversation, by the rules and not by a hash."""
    turns = []
    for role, text, fields in talk:
        said = "".join(text.split()) if role == "assistant" else text.strip()
        if role == "user" and not said and not fields["images"]:
            continue
        kind = (role, fields.get("call_id"), fields.get("is_error"))
        if turns and turns[-1][0] == kind:
            seam = "" if role == "assistant" else "\n"
            turns[-1][1] += seam + said
        else:
            turns.append([kind, said, []])
        turns[-1][2] += fields.get("calls", fields.get("images", []))
    return turns


@given(talks, talks)
def test_keys_are_equal_exactly_where_meaning_is(one, other):
    assert (of(*one) == of(*other)) == (meaning(one) == meaning(other))


@given(talks, st.integers(0, 3), st.data())
def test_one_changed_message_makes_another_conversation(talk, index, data):
    changed = [*talk[:index], data.draw(messages), *talk[index + 1 :]]
    assert (of(*changed) == of(*talk)) == (meaning(changed) == meaning(talk))


def as_agents_change_it(message, draw):
    role, text, fields = message
    if role == "assistant":
        return [(role, draw(st.sampled_from([" ", "\n", ""])) + text.replace(" ", "\n"), fields)]
    inserted = draw(st.sampled_from(["", REMINDER, f"{REMINDER}\n\n{REMINDER}"]))
    text = draw(st.sampled_from([f"{inserted}\n{text}", f"{text}\n\n{inserted}\n"]))
    return [*draw(st.sampled_from([[], [("user", REMINDER, {})], [LATE]])), (role, text, fields)]


@given(talks, st.data())
def test_changes_that_agents_make_do_not_count(talk, data):
    talk = [SYSTEM, ("user", "Go.", {}), *talk]
    changed = [part for message in talk[2:] for part in as_agents_change_it(message, data.draw)]
    assert of(*talk[:2], *changed) == of(*talk)


def test_tools_count_by_words_and_not_order():
    read, bash = ("Read", "Reads.", b"{}"), ("Bash", "Runs.", b"{}")
    assert tools_digest((read, bash)) == tools_digest((bash, read))
    others = [(read,), (bash,), (read, ("Bash", "Runs!", b"{}")), (read, ("Bash", "Runs.", b'{"a":1}'))]
    assert len({tools_digest((read, bash)), *map(tools_digest, others)}) == 5


def test_the_words_of_a_tool_cannot_be_shifted():
    assert tools_digest((("ab", "c", b""),)) != tools_digest((("a", "bc", b""),))


def exactly(talk):
    """What counts to the letter."""
    return [
        (role, text.strip() if role == "assistant" else text, [*map(tuple, fields.get("calls", ()))],
         fields.get("images", []), fields.get("call_id", ""), fields.get("is_error", False))
        for role, text, fields in talk
    ]  # fmt: skip


@given(talks, talks)
def test_literal_keys_are_equal_only_for_same_talk(one, other):
    assert (strict(*one) == strict(*other)) == (exactly(one) == exactly(other))


# -- what changes ---------------------------------------------------------------------------------------------------

TODAY = "Today is 2026-11-22."
CHANGING_TALK = (
    ("system", f"{REMINDER}You are an agent.\n{TODAY}\nx-anthropic-billing-header: a"),
    ("user", f"{REMINDER}\nFix it."),
    LATE,
    ("assistant", "Hm.", {"calls": [("call_1", "Read", "{}")]}),
    ("tool", f"x = 1\n{REMINDER}", {"call_id": "call_1"}),
)


def test_parts_left_out_are_kept_apart():
    assert fed(LooseFingerprint, *CHANGING_TALK).changing == [
        Changing("system", REMINDER), Changing("system", TODAY), Changing("user", REMINDER),
        Changing("system", LATE[1]), Changing("tool", REMINDER, "call_1"),
    ]  # fmt: skip


def test_session_gets_only_what_is_new():
    sent = fed(LooseFingerprint, *CHANGING_TALK).changing_digests()
    new = REMINDER.replace("tasks", "files")
    later = fed(LooseFingerprint, *CHANGING_TALK, LATE, ("user", f"{new}{new}{REMINDER}And?"))
    assert fed(LooseFingerprint, *CHANGING_TALK).unsent(sent) == []
    assert later.unsent(sent) == [Changing("user", new)]
    assert len(later.unsent("")) == 6


def test_speaker_counts():
    sent = fed(LooseFingerprint, ("tool", REMINDER, {"call_id": "c"})).changing_digests()
    assert fed(LooseFingerprint, ("user", f"{REMINDER}a")).unsent(sent) == [Changing("user", REMINDER)]


def test_digests_of_too_many_changes_are_dropped():
    talk = [("user", "".join(f"<system-reminder>{n}</system-reminder>" for n in range(MOST_CHANGING))), ("user", "a")]
    assert len(fed(LooseFingerprint, *talk).changing_digests()) == 8 * MOST_CHANGING
    assert fed(LooseFingerprint, *talk, ("user", REMINDER)).changing_digests() is None
    assert fed(LooseFingerprint, *talk, talk[0]).changing_digests() is not None

"""The fingerprint of a conversation."""

import pytest

from sessions_store.fingerprint import Fingerprint, fingerprint

TALK = [("system", "Be brief."), ("user", "Hello"), ("assistant", "Hi."), ("user", "Why?")]


def test_the_same_conversation_has_the_same_fingerprint():
    assert fingerprint(1, TALK) == fingerprint(1, list(TALK))


def test_another_key_has_another_fingerprint():
    assert fingerprint(1, TALK) != fingerprint(2, TALK)


def test_other_tools_have_another_fingerprint():
    assert fingerprint(1, TALK, b"weather") != fingerprint(1, TALK)


@pytest.mark.parametrize("text", ["Hello ", "\nHello", "Hello\r\n", "\t Hello\n\n"])
def test_white_space_around_a_text_does_not_count(text):
    assert fingerprint(1, [("user", text)]) == fingerprint(1, [("user", "Hello")])


def test_line_ends_do_not_count():
    assert fingerprint(1, [("user", "a\r\nb")]) == fingerprint(1, [("user", "a\nb")])


def test_white_space_inside_a_text_counts():
    assert fingerprint(1, [("user", "a b")]) != fingerprint(1, [("user", "ab")])


def test_the_role_counts():
    assert fingerprint(1, [("user", "a")]) != fingerprint(1, [("assistant", "a")])


@pytest.mark.parametrize(
    "other",
    [[("user", "ab")], [("user", "a"), ("assistant", ""), ("user", "b")], [("user", "a"), ("user", "buser 0:")]],
)
def test_messages_cannot_be_shifted_into_one_another(other):
    assert fingerprint(1, other) != fingerprint(1, [("user", "a"), ("user", "b")])


def test_tools_cannot_imitate_a_message():
    assert fingerprint(1, [], b"user 1:a") != fingerprint(1, [("user", "a")])


def test_the_end_of_a_turn_is_the_prefix_of_the_next():
    grown = Fingerprint(1)
    for role, text in TALK:
        grown.feed(role, text)
    assert grown.hexdigest() == fingerprint(1, TALK)
    grown.feed("assistant", "Because.")
    assert grown.hexdigest() == fingerprint(1, [*TALK, ("assistant", "Because.")])


def test_a_copy_goes_its_own_way():
    first = Fingerprint(1).feed("user", "a")
    second = first.copy().feed("assistant", "b")
    assert first.hexdigest() == fingerprint(1, [("user", "a")])
    assert second.hexdigest() == fingerprint(1, [("user", "a"), ("assistant", "b")])


def test_half_a_surrogate_pair_is_no_error():
    assert fingerprint(1, [("user", "\ud83d")]) != fingerprint(1, [("user", "\ud83e")])

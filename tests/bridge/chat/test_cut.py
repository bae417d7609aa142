"""Stop sequences and token limits on a stream."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.chat.cut import Cutter
from bridge.chat.events import FinishReason
from bridge.chat.tokens import estimate


def told(cutter, pieces):
    """What a client gets."""
    texts = []
    for piece in pieces:
        texts.append(cutter.feed(piece))
        if cutter.reason:
            return "".join(texts)
    return "".join([*texts, cutter.rest()])


def cut(*stop, most=None):
    return Cutter(stop, most)


@given(st.text("ab-", max_size=30), st.lists(st.text("ab-", min_size=1, max_size=4), max_size=3), st.data())
def test_cut_is_where_a_stop_sequence_begins(text, stop, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=10)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    cutter = cut(*stop)
    seen = told(cutter, pieces)
    assert (cutter.reason is FinishReason.STOP_SEQUENCE) == any(each in text for each in stop)
    assert text.startswith(seen)
    assert not any(each in seen for each in stop)
    if cutter.reason is None:
        assert seen == text


@pytest.mark.parametrize("size", range(1, 12))
def test_one_stop_sequence_cuts_at_its_first_place(size):
    text = "One. END. Two. END."
    cutter = cut("END.")
    assert told(cutter, [text[i : i + size] for i in range(0, len(text), size)]) == "One. "
    assert cutter.stop_sequence == "END."


def test_first_stop_sequence_in_the_text_cuts():
    cutter = cut("world", "o w", "")
    assert told(cutter, ["Hello ", "world"]) == "Hell"
    assert cutter.stop_sequence == "o w"


def test_possible_beginning_alone_is_withheld():
    cutter = cut("END")
    assert [cutter.feed(text) for text in ("abc", "E", "N", "x")] == ["abc", "", "", "ENx"]


def test_withheld_text_is_released_at_the_end():
    cutter = cut("\n\nUser:")
    assert told(cutter, ["Bye\n\nUse"]) == "Bye\n\nUse"
    assert cutter.reason is None


@given(st.lists(st.text("abc 灵码", max_size=12), max_size=20), st.integers(1, 30))
def test_token_limit_is_met_exactly(pieces, most):
    cutter, text = cut(most=most), "".join(pieces)
    seen = told(cutter, pieces)
    assert text.startswith(seen)
    assert estimate(seen) <= most
    assert (cutter.reason is FinishReason.LENGTH) == (estimate(text) > most)
    if cutter.reason:
        assert estimate(text[: len(seen) + 1]) > most


def test_stop_sequence_beyond_the_limit_does_not_count():
    cutter = cut("END", most=2)
    assert told(cutter, ["x" * 40 + "END"]) == "x" * 8
    assert (cutter.reason, cutter.stop_sequence) == (FinishReason.LENGTH, None)


def test_withheld_text_may_be_beyond_the_limit():
    cutter = cut("END", most=1)
    assert told(cutter, ["abcE", "N"]) == "abcE"
    assert cutter.reason is FinishReason.LENGTH


def test_a_long_reply_is_looked_at_once():
    cutter = cut(most=10_000_000)
    piece = "灵码 and more " * 10
    assert all(cutter.feed(piece) == piece for _ in range(20_000))
    assert cutter.reason is None

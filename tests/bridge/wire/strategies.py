"""Whole turns of every shape, for property tests."""

import json
from itertools import pairwise

from hypothesis import strategies as st

from bridge.chat.events import (
    Finished,
    FinishReason,
    KeepAlive,
    TextDelta,
    ThinkingDelta,
    TokenUsage,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
)
from tests.bridge.wire.turns import LOST, STARTED

chars = st.characters(exclude_categories=["Cs"])
words = st.text(chars, min_size=1, max_size=8)
names = st.text(st.sampled_from("abcXYZ_-09"), min_size=1, max_size=12)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(chars, max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(chars, max_size=4), inner, max_size=3),
    max_leaves=6,
)
arguments = st.dictionaries(words, values, max_size=3)


@st.composite
def sliced(draw, text):
    """The text in pieces of any length, none empty."""
    cuts = sorted({0, len(text), *draw(st.lists(st.integers(0, len(text)), max_size=5))})
    return [text[start:end] for start, end in pairwise(cuts)]


@st.composite
def calls(draw):
    """A whole call; without any delta it has no arguments. Keep-alives may come between."""
    text = draw(st.sampled_from(["", None]))
    if text is None:
        text = json.dumps(draw(arguments), ensure_ascii=draw(st.booleans()))
    deltas = [ToolCallDelta(piece) for piece in draw(sliced(text))]
    if draw(st.booleans()):
        deltas.insert(draw(st.integers(0, len(deltas))), KeepAlive())
    return [ToolCallStarted(draw(names), draw(names)), *deltas, ToolCallEnded()]


thoughts = st.lists(st.builds(ThinkingDelta, words) | st.just(KeepAlive()), max_size=4)
stretches = st.lists(st.builds(TextDelta, words) | st.just(KeepAlive()), min_size=1, max_size=4) | calls()


@st.composite
def good_turns(draw):
    """Thinking, then texts and calls in any order, then a good ending that no client takes for an accident."""
    rest = [event for stretch in draw(st.lists(stretches, max_size=4)) for event in stretch]
    reason = draw(st.sampled_from([FinishReason.STOP, FinishReason.TOOL_CALLS]))
    usage = TokenUsage(draw(st.integers(1, 9)), draw(st.integers(1, 9)), "upstream", draw(st.integers(0, 1)))
    return [STARTED, *draw(thoughts), *rest, Finished(reason, usage)]


@st.composite
def turns(draw):
    """A good turn, or one that breaks or is cut off anywhere after its start."""
    turn = draw(good_turns())
    ending = draw(st.sampled_from([None, LOST, Finished(FinishReason.LENGTH, TokenUsage(1, 1, "estimate"))]))
    return turn if ending is None else [*turn[: draw(st.integers(1, len(turn) - 1))], ending]

"""Reasoning and tool cards in the text of a reply."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.chat.events import TextDelta, ThinkingDelta
from bridge.reply.thinking import ThinkingSplitter, Unopened
from tests.bridge.reply.streams import cut, merged, sliced

CARD = "```toolCall::read_file::t1::INIT\n```"


class Collected(list):
    """The pieces, none of which is a call or JSON."""

    in_data = False


def feed(splitter, text):
    sent = Collected()
    splitter.feed(text, sent)
    return sent


def end(splitter):
    sent = Collected()
    splitter.end(sent)
    return sent


def fed(splitter, pieces):
    return [part for piece in pieces for part in feed(splitter, piece)] + end(splitter)


def thought(text):
    return ThinkingDelta(text)


def said(text):
    return TextDelta(text)


CASES = {
    "plain text": ("Hello\n\nworld\n", [said("Hello\n\nworld\n")]),
    "a fence": ("\n````think::12\nHmm\n```py\nx\n```\n````\nHi", [thought("Hmm\n```py\nx\n```"), said("Hi")]),
    "a fence at the very start": ("````think::THINK_TIME\nHmm\n````\n\nHi", [thought("Hmm"), said("Hi")]),
    "a fence with other line ends": ("````think::1\r\nHmm\n````\r\nHi", [thought("Hmm"), said("Hi")]),
    "an empty fence": ("````think::1\n````\nHi", [said("Hi")]),
    "a fence in the middle": ("Hi\n````think::1\nHmm\n````\nyou", [said("Hi\n"), thought("Hmm"), said("you")]),
    "a fence that is not closed": ("````think::1\nHmm\n```", [thought("Hmm\n```")]),
    "a fence closed by the end": ("````think::1\nHmm\n````", [thought("Hmm")]),
    "longer fences inside a fence": ("````think::1\n````py\n````\nHi", [thought("````py"), said("Hi")]),
    "tags": ("<think>\nHmm <b></think>\n\nHi", [thought("\nHmm <b>"), said("Hi")]),
    "several tags and white space": (" \n<think>a</think>\n<think>b</think>\nHi", [thought("ab"), said("Hi")]),
    "a tag behind text": ("Hi <think>a</think>", [said("Hi <think>a</think>")]),
    "a tag that is not closed": ("<think>a</thi", [thought("a</thi")]),
    "a tag that is not all there": ("<thin", [said("<thin")]),
    "a tag that is another": ("<thinker>x", [said("<thinker>x")]),
    "a longer tag": ("<thinking>Hmm</think></thinking>Hi", [thought("Hmm</think>"), said("Hi")]),
    "a tag behind a sentence": ("Sure. <think>Hmm</think>Hi", [said("Sure. "), thought("Hmm"), said("Hi")]),
    "a tag behind a line": ("Sure\n\n<thinking>Hmm</thinking>\nHi", [said("Sure\n\n"), thought("Hmm"), said("\nHi")]),
    "a tag behind text that is not closed": ("Sure.\n<think>Hmm", [said("Sure.\n<think>Hmm")]),
    "a tag in quotes": ('Write "<think>" first.</b>', [said('Write "<think>" first.</b>')]),
    "a tag in a code span": ("Use `<think>` and `</think>`.", [said("Use `<think>` and `</think>`.")]),
    "tags in code": ("So:\n```\n<think>\n</think>\n```\n", [said("So:\n```\n<think>\n</think>\n```\n")]),
    "tags within a sentence": ("The tags <think> and </think> mean", [said("The tags <think> and </think> mean")]),
    "a quoted pair": ("Write. <think> opens, '</think>' ends", [said("Write. <think> opens, '</think>' ends")]),
    "only an end": ("Let me weigh it.\n</think>\n\nHi", [thought("Let me weigh it.\n"), said("Hi")]),
    "only an end within a line": ("Let me weigh it.</thinking>Hi", [thought("Let me weigh it."), said("Hi")]),
    "only an end at the start": ("</think>\n\nHi", [said("Hi")]),
    "only an end, behind code": ("```\nx\n```\n</think>\nHi", [thought("```\nx\n```\n"), said("Hi")]),
    "an end in a sentence": ("It ends with </think> and goes on", [said("It ends with </think> and goes on")]),
    "much white space before a tag": (" " * 300 + "<think>a", [said(" " * 300 + "<think>a")]),
    "a second end": ("a</think>b</think>c", [thought("a"), said("b</think>c")]),
    "a tag behind a fence": ("````think::1\na\n````\n<think>b</think>c", [thought("ab"), said("c")]),
    "a card": (f"a\n{CARD}\nb", [said("a\nb")]),
    "cards in a row": (f"a\n{CARD}\n{CARD}\n\nb", [said("a\n\nb")]),
    "a card alone": (CARD, []),
    "a card before text": (f"\n{CARD}\n\nHi", [said("Hi")]),
    "a card of three parts": ("```toolCall::ls::t1\n```\nHi", [said("Hi")]),
    "a card of five parts": ("```toolCall::ls::t1::INIT::x\n```\nHi", [said("Hi")]),
    "a card inside a line": (f"a {CARD}\nb", [said(f"a {CARD}\nb")]),
    "a card with content": ("```toolCall::a::b::INIT\nx\n```", [said("```toolCall::a::b::INIT\nx\n```")]),
    "half a card": ("a\n```toolCall::a", [said("a\n```toolCall::a")]),
    "code": ("```python\nx = 1\n```\n", [said("```python\nx = 1\n```\n")]),
    "code in four backticks": ("````md\n```\n````\n", [said("````md\n```\n````\n")]),
    "an edit block": ("```py|CODE_EDIT_BLOCK|/srv/me/a b.py\nx\n```", [said("```py|CODE_EDIT_BLOCK|a b.py\nx\n```")]),
    "an edit block of Windows": ("```|CODE_EDIT_BLOCK|C:\\a\\b.py\nx\n", [said("```|CODE_EDIT_BLOCK|b.py\nx\n")]),
    "an edit block with a plain path": ("```|CODE_EDIT_BLOCK|a/b.py\n", [said("```|CODE_EDIT_BLOCK|a/b.py\n")]),
    "white space alone": (" \n", [said(" \n")]),
    "nothing": ("", []),
}  # fmt: skip


def read(splitter, pieces):
    """All it gives, with what it takes back taken back."""
    sent = []
    for piece in fed(splitter, pieces):
        if isinstance(piece, Unopened):
            assert "".join(each.text for each in sent if isinstance(each, TextDelta)) == piece.text
            sent = [each for each in sent if not isinstance(each, TextDelta)] + [thought(piece.text)]
        else:
            sent.append(piece)
    return merged(sent)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_reasoning_is_split_off_however_cut(case, size):
    written, pieces = CASES[case]
    assert read(ThinkingSplitter(), sliced(written, size)) == pieces


MARKS = st.sampled_from([written for written, _ in CASES.values()]) | st.lists(
    st.sampled_from(
        [
            *("````think::1\n", "\n````\n", "````", "```", "`", "\n", "<think>", "</think>", "<", "x", " ", "\r"),
            *("<thinking>", "</thinking>", "Sure. ", '"', "~~~", "e </think> and"),
            *(CARD, "```toolCall::", "::INIT", "```py|CODE_EDIT_BLOCK|/a/b", "|", "think", " " * 200, "y" * 300),
        ]
    ),
    max_size=14,
).map("".join)


@settings(deadline=None)
@given(MARKS, st.data())
def test_events_do_not_depend_on_stream_slicing(reply, data):
    expected = read(ThinkingSplitter(), [reply])
    assert read(ThinkingSplitter(), cut(reply, data)) == expected
    assert read(ThinkingSplitter(), reply) == expected


@settings(deadline=None)
@given(st.text().filter(lambda text: "think" not in text and "```" not in text))
def test_text_without_markers_stays_as_it_is(reply):
    assert "".join(piece.text for piece in fed(ThinkingSplitter(), reply)) == reply


def test_text_and_reasoning_stream_at_once():
    splitter = ThinkingSplitter()
    assert feed(splitter, "<think>Let") == [thought("Let")]
    assert feed(splitter, " me") == [thought(" me")]
    assert feed(splitter, "</think>Hi") == [said("Hi")]
    assert feed(splitter, "\n") == [said("\n")]


def test_text_that_passes_need_not_be_fed():
    splitter = ThinkingSplitter()
    assert not any(splitter.passes(text) for text in ("", " ", "<thi", "`"))
    assert splitter.passes("Hi")
    assert splitter.passes(" <you>\n")
    assert not splitter.passes("````think::1\na\n````\n")
    assert feed(splitter, "````think::1\na\n````\n") == [thought("a")]


def test_pieces_do_not_pass_while_held_or_reasoning():
    splitter = ThinkingSplitter()
    for text in (" <th", "ink>Hm"):
        feed(splitter, text)
        assert not splitter.passes("Hi")
    feed(splitter, "</think>")
    assert splitter.passes("Hi")


@pytest.mark.parametrize(
    "unit", [*"`\n <", "```toolCall::", "````think::", "\n```", "```x|CODE_EDIT_BLOCK|/", "</think"]
)
@pytest.mark.parametrize("start", ["", "x\n", "<think>", "````think::1\n"])
def test_text_held_by_the_splitter_is_bounded(unit, start):
    splitter = ThinkingSplitter()
    for piece in [start, *[unit * 100] * 40]:
        feed(splitter, piece)
    assert sum(len(piece.text) for piece in end(splitter)) <= 700


def test_reasoning_behind_text_is_held_within_a_bound():
    splitter = ThinkingSplitter()
    assert feed(splitter, "Sure.\n<think>") == [said("Sure.\n")]
    held = 0
    while not (sent := feed(splitter, "hm " * 100)):
        held += 1
        assert held < 200
    assert "".join(piece.text for piece in sent).startswith("<think>hm")
    assert splitter.passes("hm")


def test_many_tags_in_one_line_are_no_burden():
    splitter = ThinkingSplitter()
    text = "a <think> b </think> c" * 20_000
    assert "".join(piece.text for piece in fed(splitter, [text])) == text

"""A reply in which the model plays somebody else's part, where no calls are looked for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.prompt.compose import headings
from bridge.reply.headings import HeadingGuard
from tests.bridge.reply.streams import cut, sliced

MARK = "k3x9qa72mb"
USER = f"[User {MARK}]"


def sent(pieces):
    guard = HeadingGuard(MARK)
    return "".join([*map(guard.feed, pieces), guard.end()])


@pytest.mark.parametrize("size", [1, 3, 100])
@pytest.mark.parametrize("heading", headings(MARK))
def test_reply_ends_before_a_session_heading(heading, size):
    assert sent(sliced(f"Yes [1].\n{heading}]\nAnd?\n[Assistant {MARK}]\nNo.", size)) == "Yes [1].\n"
    assert sent(sliced(f"{heading}]\nAnd?", size)) == ""


@pytest.mark.parametrize("size", [1, 3, 100])
@pytest.mark.parametrize("text", ["[User]\nHi", f"see {USER}", f" {USER}", "[User abc]", "[x]\n[y", "[", "a\n[User"])
def test_text_unlike_a_session_heading_is_sent(text, size):
    assert sent(sliced(text, size)) == text


def test_end_shows_no_part_of_the_mark():
    assert sent(["Yes.\n[User k3x9"]) == "Yes.\n"


def test_text_passes_at_once():
    guard = HeadingGuard(MARK)
    assert guard.passes("a <b> c\n")
    assert not guard.passes("[")
    assert (guard.feed("a [b"), guard.passes("c")) == ("a [b", True)


PIECES = st.sampled_from([USER, "[User", "[", " ", MARK, "]", "\n", "\n", "x", "[Call", f"[Result {MARK} "])


@given(st.lists(PIECES, max_size=9).map("".join), st.data())
def test_slicing_of_the_reply_does_not_matter(text, data):
    assert sent(cut(text, data)) == sent(text) == sent([text])

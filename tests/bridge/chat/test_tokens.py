import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.chat.request import Message, ToolCall
from bridge.chat.tokens import Calibration, Ratio, estimate, estimate_messages


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 0), ("a", 1), ("abcd" * 10, 10), ("通义灵码" * 10, 28), ("é", 1), ("通义 abcdefgh", 4), ("\ud800", 1)],
)
def test_the_estimate_knows_narrow_and_wide_text(text, tokens):
    assert estimate(text) == tokens


@settings(deadline=None)
@given(st.text())
def test_no_text_has_more_tokens_than_characters_and_only_the_empty_one_has_none(text):
    assert estimate(text) <= len(text)
    assert (estimate(text) == 0) == (text == "")


def test_a_conversation_counts_texts_and_calls():
    plain = [Message("user", "abcd")]
    called = [*plain, Message("assistant", "", (ToolCall("1", "look", '{"a":1}'),))]
    assert 0 < estimate_messages(plain) < estimate_messages(called)


def test_a_ratio_learns_how_far_off_the_estimates_were():
    ratio = Ratio()
    for _ in range(100):
        ratio.learn(100, 150)
    assert ratio.apply(1000) == pytest.approx(1500, rel=0.01)


@pytest.mark.parametrize(("real", "bound"), [(1_000_000, 4.0), (1, 0.25)])
def test_a_ratio_stays_in_bounds(real, bound):
    ratio = Ratio(weight=1)
    ratio.learn(100, real)
    assert ratio.value == bound


@pytest.mark.parametrize(("estimated", "real"), [(0, 5), (5, 0), (-1, 5)])
def test_figures_that_say_nothing_teach_nothing(estimated, real):
    ratio = Ratio()
    ratio.learn(estimated, real)
    assert ratio.value == 1.0


def test_prompts_and_replies_are_learnt_apart():
    calibration = Calibration(weight=1)
    calibration.input.learn(10, 20)
    assert (calibration.input.apply(10), calibration.output.apply(10)) == (20, 10)
    assert calibration.input.apply(0) == 0

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.chat.request import Message, Tool, ToolCall
from bridge.chat.tokens import Calibration, Fit, estimate, estimate_messages


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 0), ("a", 1), ("abcd" * 10, 10), ("通义灵码" * 10, 28), ("é", 1), ("通义 abcdefgh", 4), ("\ud800", 1)],
)
def test_the_estimate_knows_narrow_and_wide_text(text, tokens):
    assert estimate(text) == tokens


@settings(deadline=None)
@given(st.text())
def test_tokens_never_exceed_characters(text):
    assert estimate(text) <= len(text)
    assert (estimate(text) == 0) == (text == "")


def test_a_conversation_counts_texts_and_calls():
    plain = [Message("user", "abcd")]
    called = [*plain, Message("assistant", "", (ToolCall("1", "look", '{"a":1}'),))]
    assert 0 < estimate_messages(plain) < estimate_messages(called)


def learnt(*turns):
    fit = Fit()
    for estimated, real in turns * 60:
        fit.learn(estimated, real)
    return fit


def test_it_learns_how_far_off_the_estimates_were():
    assert learnt((100, 150), (1000, 1500)).apply(2000) == pytest.approx(3000, rel=0.02)


def test_added_prompt_is_not_taken_for_a_rate():
    assert learnt((5, 485), (1000, 1480)).apply(10_000) == pytest.approx(10_480, rel=0.02)
    assert learnt((5, 485)).apply(5000) == pytest.approx(5480, rel=0.02)


@pytest.mark.parametrize(("real", "slope"), [(1_000_000, 4.0), (1, 0.25)])
def test_the_slope_stays_in_bounds(real, slope):
    fit = learnt((100, 100), (200, real))
    assert fit.apply(20_000) - fit.apply(10_000) == 10_000 * slope


@pytest.mark.parametrize(("estimated", "real"), [(0, 5), (5, 0), (-1, 5)])
def test_useless_figures_teach_nothing(estimated, real):
    assert learnt((estimated, real)).apply(1000) == 1000


def test_prompts_and_replies_are_learnt_apart():
    calibration = Calibration(weight=1)
    calibration.input.learn(10, 20)
    assert (calibration.input.apply(10), calibration.output.apply(10)) == (20, 10)
    assert calibration.input.apply(0) == 0


def test_images_and_tools_count_too():
    plain = [Message("user", "Look: [image]")]
    seen = [Message("user", "Look: [image]", images=("data:image/png;base64," + "A" * 100_000,))]
    assert estimate_messages(seen) == estimate_messages(plain) + 1500
    assert estimate_messages(plain, [Tool("look", "Look around.", b'{"type":"object"}')]) > estimate_messages(plain)

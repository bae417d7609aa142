import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.chat.request import Message, Tool, ToolCall
from bridge.chat.tokens import Calibration, Calibrations, Fit, estimate, estimate_messages


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


def test_factor_learns_how_far_off_estimates_were():
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


def test_short_replies_cost_little_after_long_ones():
    calibration = Calibration()
    for number in range(100):
        calibration.output.learn(224 + number % 9, 409)
    assert calibration.output.apply(1) <= Fit.MOST
    assert calibration.output.apply(228) == pytest.approx(409, rel=0.02)


def taught(calibrations, key, *turns):
    for estimated, real in turns:
        calibrations.learning(key).input.learn(estimated, real)


ORDINARY = [(300 + 30 * number, 480 + 300 + 30 * number) for number in range(40)]
OUTLIERS = [(120_000, 240_000), (100_000, 400_000), (120_000, 9)] * 30


def test_figures_of_one_key_move_no_other():
    calibrations = Calibrations()
    taught(calibrations, 1, *ORDINARY)
    before = calibrations.of(1).input.apply(1500)
    taught(calibrations, 2, *OUTLIERS)
    assert calibrations.of(1).input.apply(1500) == before == pytest.approx(1980, rel=0.02)


def test_new_key_gets_what_is_usual():
    calibrations = Calibrations()
    assert calibrations.of(1).input.apply(1500) == 1500
    for key in (1, 2, 3):
        taught(calibrations, key, *ORDINARY)
    taught(calibrations, 4, *OUTLIERS)
    assert calibrations.of(5).input.apply(1500) == pytest.approx(1980, rel=0.02)


def test_one_long_prompt_says_little_of_short_ones():
    calibrations = Calibrations()
    taught(calibrations, 1, (120_000, 240_000))
    for key in (1, 2):
        assert calibrations.of(key).input.apply(5) <= 5 * 2 + Fit.MOST_ADDED
        assert calibrations.of(key).input.apply(120_000) == pytest.approx(240_000, rel=0.01)


def test_keys_without_figures_are_forgotten():
    calibrations = Calibrations(most=10)
    for key in range(100):
        taught(calibrations, key, (100, 200))
        taught(calibrations, 0, (100, 300))
    assert len(calibrations._by_key) == 10
    assert calibrations.of(0).input.apply(100) > 290


def test_schema_of_a_reply_counts_too():
    plain = [Message("user", "Who?")]
    schema = b'{"type":"object","properties":{"name":{"type":"string"}}}'
    assert estimate_messages(plain, (), schema) >= estimate_messages(plain) + len(schema) // 4


def test_images_and_tools_count_too():
    plain = [Message("user", "Look: [image]")]
    seen = [Message("user", "Look: [image]", images=("data:image/png;base64," + "A" * 100_000,))]
    assert estimate_messages(seen) == estimate_messages(plain) + 1500
    assert estimate_messages(plain, [Tool("look", "Look around.", b'{"type":"object"}')]) > estimate_messages(plain)

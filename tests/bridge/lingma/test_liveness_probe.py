"""Who is taken for hung, and who is not."""

import pytest

from bridge.lingma.transport.liveness_probe import AGAIN, ANSWER, ANSWER_BUSY, QUIET, QUIET_BUSY, LivenessProbe


def beats(probe, count, *, busy=False):
    """Beats of silence: what each said."""
    return [probe.beat(alive=False, busy=busy) for _ in range(count)]


def knowing(*pings, busy=False):
    """A probe of a service that has answered these."""
    probe = LivenessProbe()
    probe.beat(alive=True, busy=busy)
    for ping in pings:
        probe.answered(ping)
    return probe


@pytest.mark.parametrize("busy", [False, True])
def test_frame_answering_service_is_hung_when_it_stops(busy):
    quiet = QUIET_BUSY if busy else QUIET
    verdicts = beats(knowing("frame"), quiet + ANSWER, busy=busy)
    assert verdicts == ["well"] * (quiet - 1) + ["ask"] + ["well"] * (ANSWER - 1) + ["hung"]


def test_any_frame_is_a_sign_of_life():
    probe = knowing("frame")
    for _ in range(10):
        assert "hung" not in beats(probe, QUIET_BUSY + ANSWER - 1, busy=True)
        assert probe.beat(alive=True, busy=True) == "well"


def test_silent_service_is_asked_and_never_judged():
    verdicts = beats(LivenessProbe(), QUIET_BUSY + 10 * AGAIN, busy=True)
    assert set(verdicts) == {"well", "ask"}
    assert verdicts.count("ask") == 11


def test_service_answering_between_turns_may_be_slow_during():
    assert beats(knowing("request"), QUIET + ANSWER)[-1] == "hung"
    verdicts = beats(knowing("request"), QUIET_BUSY + ANSWER_BUSY, busy=True)
    assert verdicts.index("hung") == QUIET_BUSY + ANSWER_BUSY - 1


def test_service_that_answered_during_turns_is_judged_then():
    assert beats(knowing("request", busy=True), QUIET_BUSY + ANSWER, busy=True)[-1] == "hung"


def test_requests_are_sent_only_where_frames_fail():
    assert (LivenessProbe().pings, knowing("request").pings, knowing("frame", "request").pings) == (
        ("frame", "request"), ("frame", "request"), ("frame",),
    )  # fmt: skip

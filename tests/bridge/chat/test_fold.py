"""Events to a whole reply."""

import pytest

from bridge.chat.errors import ConnectionLost
from bridge.chat.events import Failed, Finished, FinishReason, KeepAlive, Started, TextDelta, TokenUsage
from bridge.chat.fold import Text, WholeReply, fold

STARTED = Started("w1-i1", "org_auto", "new", 0, 5)
USAGE = TokenUsage(5, 2, "upstream")


def test_all_texts_are_joined():
    events = [
        STARTED,
        TextDelta("Hel"),
        KeepAlive(),
        TextDelta("lo"),
        Finished(FinishReason.STOP_SEQUENCE, USAGE, "END"),
    ]
    assert fold(events) == WholeReply([Text("Hello")], FinishReason.STOP_SEQUENCE, USAGE, "END")


def test_a_reply_may_be_empty():
    assert fold([STARTED, Finished(FinishReason.STOP, USAGE)]) == WholeReply([], FinishReason.STOP, USAGE)


def test_a_failed_turn_raises_its_error():
    error = ConnectionLost("gone")
    with pytest.raises(ConnectionLost) as raised:
        fold([STARTED, TextDelta("half"), Failed(error)])
    assert raised.value is error


def test_events_without_an_ending_are_a_bug():
    with pytest.raises(ValueError, match="ending"):
        fold([STARTED, TextDelta("half")])

"""Events to a whole reply."""

import pytest

from bridge.chat.errors import ConnectionLost
from bridge.chat.events import Failed, Finished, FinishReason, KeepAlive, Started, TextDelta, TokenUsage
from bridge.chat.fold import Fold, WholeReply

STARTED = Started("w1-i1", "org_auto", "new", 0, 5)
USAGE = TokenUsage(5, 2, "upstream")


def test_the_texts_of_all_batches_are_joined():
    fold = Fold()
    fold.feed([STARTED, TextDelta("Hel")])
    fold.feed([KeepAlive()])
    assert fold.reply is None
    fold.feed([TextDelta("lo"), Finished(FinishReason.STOP_SEQUENCE, USAGE, "END")])
    assert fold.reply == WholeReply("Hello", FinishReason.STOP_SEQUENCE, USAGE, "END")


def test_a_reply_may_be_empty():
    fold = Fold()
    fold.feed([STARTED, Finished(FinishReason.STOP, USAGE)])
    assert fold.reply == WholeReply("", FinishReason.STOP, USAGE)


def test_a_failed_turn_raises_its_error():
    error = ConnectionLost("gone")
    fold = Fold()
    with pytest.raises(ConnectionLost) as raised:
        fold.feed([STARTED, TextDelta("half"), Failed(error)])
    assert (raised.value, fold.reply) == (error, None)

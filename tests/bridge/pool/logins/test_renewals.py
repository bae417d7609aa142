"""Renewals by a service's log: a hint that only the end of the login confirms."""

import pytest

from bridge.lingma.dialects.a.dialect import LOG
from bridge.lingma.process.log_tail import LogTail
from bridge.pool.logins.renewals import JUDGED_AFTER_SEC, Renewals

CLAIM, FAILURE = "renew token success. new expire time: 9\n", "Failed to get renew token response\n"
LATE = JUDGED_AFTER_SEC + 1


@pytest.fixture
def said(tmp_path):
    """A log, and what adds to it."""
    (tmp_path / "logs").mkdir()
    path = tmp_path / "logs" / "lingma.log"
    path.touch()

    def say(text):
        with path.open("a") as file:
            file.write(text)

    return LogTail(tmp_path, LOG), say


@pytest.mark.parametrize(("before", "after"), [(1000.0, 2000.0), (1000.0, 1000.5), (2000.0, 1000.0)])
def test_later_end_alone_is_a_success(said, before, after):
    log, say = said
    renewals = Renewals()
    assert renewals.look(log, before, 0.0) is None
    say(CLAIM)
    assert renewals.look(log, before, 1.0) is None
    assert renewals.is_claimed
    assert renewals.look(log, after, 2.0) is None
    assert renewals.look(log, after, LATE + 1) == (None if after > before + 1 else "not_later")
    assert not renewals.is_claimed
    assert renewals.look(log, after, 2 * LATE) is None


def test_end_may_be_known_before_its_line(said):
    log, say = said
    renewals = Renewals()
    for end, now in ((1000.0, 0.0), (2000.0, 1.0)):
        renewals.look(log, end, now)
    say(CLAIM)
    assert [renewals.look(log, 2000.0, now) for now in (2.0, LATE + 2, LATE + 3)] == [None, None, None]


def test_each_failure_is_told_once(said):
    log, say = said
    renewals = Renewals()
    assert renewals.look(None, 0.0, 0.0) is None
    say(FAILURE)
    assert [renewals.look(log, 1000.0, now) for now in (1.0, 2.0)] == ["not_renewed", None]
    say(FAILURE)
    assert renewals.look(log, 1000.0, 3.0) == "not_renewed"

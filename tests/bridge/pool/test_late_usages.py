"""Figures that come after their turn has ended: they are waited for, for a minute and for so many turns."""

import asyncio

import pytest

from bridge.lingma.dialects.base import LoggedUsage
from bridge.pool import late_usages
from bridge.pool.late_usages import Awaited, LateUsages
from bridge.telemetry.metrics import LATE_USAGE
from gateway_project.lib.ticker import Ticker


class Log:
    """What has been logged, by request id."""

    def __init__(self):
        self.logged = {}

    def usages(self, request_ids):
        return [self.logged.pop(id_) for id_ in request_ids if id_ in self.logged]

    def write(self, *request_ids):
        self.logged |= {id_: LoggedUsage(id_, 10, 3) for id_ in request_ids}


@pytest.fixture
async def late():
    return LateUsages(Ticker(3600))  # ticks by hand


@pytest.fixture
async def now():
    return asyncio.get_running_loop().time()


def counted(outcome):
    return LATE_USAGE.labels(outcome)._value.get()


async def test_figures_are_told_once(late, now):
    log, told = Log(), []
    late.expect(Awaited(log, ["r1"]), lambda *tokens: told.append(tokens))
    late.tick(now)
    log.write("r1", "somebody's")
    late.tick(now + 0.5)
    assert told == []  # it looks once a second
    late.tick(now + 2)
    late.tick(now + 4)
    assert (told, len(late), list(log.logged)) == ([(10, 3)], 0, ["somebody's"])


async def test_correction_and_first_reply_count_together(late, now):
    log, told = Log(), []
    late.expect(Awaited(log, ["r1", "r2"], prompt_tokens=100, completion_tokens=50), lambda *all: told.append(all))
    log.write("r2")
    late.tick(now)
    assert told == []
    log.write("r1")
    late.tick(now + 2)
    assert (told, len(late)) == ([(120, 56)], 0)


async def test_usage_is_awaited_a_minute_at_most(late, now):
    log, told, missing = Log(), [], counted("missing")
    late.expect(Awaited(log, ["r1", "r2"]), lambda *tokens: told.append(tokens))
    late.tick(now + late_usages.WAIT_SEC - 1)
    assert len(late) == 2
    late.tick(now + late_usages.WAIT_SEC + 1)
    log.write("r1", "r2")
    late.tick(now + late_usages.WAIT_SEC + 3)
    assert (told, len(late), counted("missing") - missing) == ([], 0, 1)


async def test_turns_that_wait_are_bounded(late, now, monkeypatch):
    monkeypatch.setattr(late_usages, "MOST", 3)
    log, told, dropped = Log(), [], counted("dropped")
    for number in range(5):
        late.expect(Awaited(log, [f"r{number}"]), lambda *_, number=number: told.append(number))
    log.write(*[f"r{number}" for number in range(5)])
    late.tick(now)
    assert (told, len(late), counted("dropped") - dropped) == ([2, 3, 4], 0, 2)

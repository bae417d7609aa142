"""Maintenance windows: when they are open, and what a pool does meanwhile."""

import math
import time
from datetime import UTC, datetime

import pytest

from bridge.chat.errors import Unavailable
from bridge.pool.instances.orders import Order
from bridge.pool.upkeep.windows import Window, maintenance_of, next_change, occurrence, open_at
from bridge.status.transitions import TransitionReason
from bridge.status.wanted import Maintenance, Mode
from tests.bridge.lingma.service import Service
from tests.bridge.living import gone
from tests.bridge.pools import attached, in_state, running, simulator


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def planned(begins="2026-11-29T02:00", ends="2026-11-29T04:00", number=1, mode=Mode.DRAIN, **fields):
    return Window(number, f"window {number}", mode, at(begins), at(ends), **fields)


@pytest.mark.parametrize(
    ("now", "is_open", "changes"),
    [
        ("2026-11-29T01:59:59", False, "2026-11-29T02:00"), ("2026-11-29T02:00", True, "2026-11-29T04:00"),
        ("2026-11-29T03:59:59", True, "2026-11-29T04:00"), ("2026-11-29T04:00", False, None),
        ("2026-12-06T03:00", False, None),
    ],
)  # fmt: skip
def test_window_is_open_once(now, is_open, changes):
    assert bool(open_at([planned()], at(now))) is is_open
    assert next_change([planned()], at(now)) == (at(changes) if changes else math.inf)


def weekly(begins, ends, zone="Europe/Berlin"):
    return planned(begins, ends, weekly=True, zone=zone)


SPRING, SUMMER = ("2026-03-22T01:00", "2026-03-22T03:00"), ("2026-07-05T00:00", "2026-07-05T02:00")


@pytest.mark.parametrize(
    ("window", "now", "begins", "ends"),
    [
        # 02:00 to 04:00 in Berlin is an hour earlier in summer by the clock of UTC.
        (weekly(*SPRING), "2026-03-20T00:00", "2026-03-22T01:00", "2026-03-22T03:00"),
        (weekly(*SPRING), "2026-04-01T00:00", "2026-04-05T00:00", "2026-04-05T02:00"),
        (weekly(*SUMMER), "2026-11-01T02:00", "2026-11-01T01:00", "2026-11-01T03:00"),
        # The night in which the hour from 02:00 to 03:00 is left out, and the one that has it twice.
        (weekly(*SPRING), "2026-03-29T00:30", "2026-03-29T01:00", "2026-03-29T02:00"),
        (weekly("2026-10-18T00:00", "2026-10-18T02:00"), "2026-10-25T00:30",
         "2026-10-25T00:00", "2026-10-25T03:00"),
        (weekly("2026-03-22T01:10", "2026-03-22T01:50"), "2026-03-29T00:30",
         "2026-03-29T01:10", "2026-03-29T01:50"),
        # Over midnight, years later, and one of nearly a week.
        (weekly("2026-11-28T22:00", "2026-11-29T02:00", "UTC"), "2031-11-30T01:00",
         "2031-11-29T22:00", "2031-11-30T02:00"),
        (weekly("2026-11-23T00:00", "2026-11-29T22:00", "UTC"), "2026-11-29T23:00",
         "2026-11-30T00:00", "2026-12-06T22:00"),
        (planned(weekly=True, zone="Nowhere/City"), "2026-12-01T00:00", "2026-12-06T02:00", "2026-12-06T04:00"),
    ],
)  # fmt: skip
def test_weekly_window_follows_the_clock_on_the_wall(window, now, begins, ends):
    assert occurrence(window, at(now))[1:] == (at(begins), at(ends))


def test_window_about_nobody_leaves_others_alone():
    open_ = open_at([planned(instances=("w1-i1",))], at("2026-11-29T03:00"))
    assert maintenance_of("w1-i1", open_) == Maintenance("window 1", Mode.DRAIN, at("2026-11-29T04:00"))
    assert maintenance_of("w1-i2", open_) is None


def test_strictest_of_several_counts_until_the_last():
    those = [planned(), planned(ends="2026-11-29T03:30", number=2, mode=Mode.STOP)]
    found = maintenance_of("w1-i1", open_at(those, at("2026-11-29T03:00")))
    assert found == Maintenance("window 1", Mode.STOP, at("2026-11-29T04:00"))


@pytest.mark.parametrize(
    ("mode", "window", "until", "stops"),
    [
        (Mode.RUN, None, 0, False), (Mode.DRAIN, None, math.inf, False), (Mode.RUN, Mode.DRAIN, 9, False),
        (Mode.RUN, Mode.STOP, 9, True), (Mode.DRAIN, Mode.STOP, math.inf, True),
        (Mode.STOP, Mode.DRAIN, math.inf, True),
    ],
)  # fmt: skip
def test_order_goes_on_when_a_window_closes(mode, window, until, stops):
    order = Order(mode, maintenance=None if window is None else Maintenance("nightly", window, 9))
    assert (order.held_until, order.wants_stop) == (until, stops)


def soon(seconds, mode=Mode.DRAIN, **fields):
    """Open since a minute, for so many seconds."""
    return Window(1, "nightly", mode, time.time() - 60, time.time() + seconds, **fields)


def told(pool):
    return [(each.state.value, each.why, each.detail) for each in pool.instances[0].timeline.pending()][2:]


async def test_open_window_refuses_with_its_end():
    async with Service() as service, running(attached(service)) as pool:
        pool.upkeep.obey({}, [soon(3600)])
        assert pool.statuses()[0].state == "draining"
        with pytest.raises(Unavailable, match=r"in maintenance until 20\d\d-.* UTC") as refused:
            pool.lease()
        assert 3595 <= refused.value.retry_after <= 3600
        pool.upkeep.obey({}, [])
        assert pool.lease() is not None
        assert told(pool) == [
            ("draining", TransitionReason.MAINTENANCE, "nightly"),
            ("ready", TransitionReason.MAINTAINED, "nightly"),
        ]


async def test_window_closes_by_itself_and_serves():
    async with Service() as service, running(attached(service)) as pool:
        pool.upkeep.obey({}, [soon(0.5)])
        assert pool.lease() is None  # worth waiting for
        waiter = pool.queue()
        assert (await waiter.lease).instance.name == "w1-i1"
        assert pool.statuses()[0].maintenance is None


async def test_window_opens_by_itself(services):
    begins = time.time() + 0.3
    window = Window(1, "nightly", Mode.DRAIN, begins, begins + 3600, instances=("w1-i2",))
    async with running(attached(*services)) as pool:
        pool.upkeep.obey({"w1-i1": Order(cool_until=time.time() + 60)}, [window])
        await in_state(pool, "cooling", "draining")
        assert time.time() >= begins
        with pytest.raises(Unavailable, match="No Lingma instance is ready"):
            pool.lease(until=0)


async def test_stopping_window_ends_the_program(tmp_path):
    async with running([simulator(tmp_path, "--login=auto")]) as pool:
        pid = pool.statuses()[0].pid
        pool.upkeep.obey({}, [soon(3600, Mode.STOP)])
        await in_state(pool, "stopped")
        assert await gone(pid)
        assert told(pool)[-1][:2] == ("stopped", TransitionReason.MAINTENANCE)
        pool.upkeep.obey({"w1-i1": Order(Mode.STOP)}, [])
        assert told(pool)[-1] == ("stopped", TransitionReason.MAINTAINED, "nightly")
        assert not pool.instances[0].back_within(1e9)
        pool.upkeep.obey({}, [])
        await in_state(pool, "ready")


async def test_instance_stopped_from_the_beginning_never_starts(tmp_path):
    async with running([simulator(tmp_path, "--login=auto")], ready=False) as pool:
        pool.upkeep.obey({}, [soon(3600, Mode.STOP)])
        await in_state(pool, "stopped")
        assert pool.statuses()[0].restarts == 0
        assert not (tmp_path / ".info.json").exists()

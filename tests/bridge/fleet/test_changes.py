"""Whether all is known of what happened to an instance around a request."""

from datetime import UTC, datetime

import pytest

from bridge.fleet import timelines
from bridge.fleet.changes import changes
from bridge.pool.instances.timeline import Timeline
from bridge.status.states import InstanceState
from bridge.status.transitions import MOST, MOST_OF_LOAD, TransitionReason
from gateway_project.lib.redis.redis_link import RedisLink

NAME = "w1-i8"
LONG_AGO, THEN, LATELY = 1_000.0, 500_000.0, 900_000.0
OTHER, LOAD = TransitionReason.CONNECTED, TransitionReason.FULL


@pytest.fixture
async def noted(redis_server):
    """Has these steps happened to the instance: the reason of each, and when."""
    link = RedisLink(redis_server, timeout=30)
    await link.execute("DEL", f"lgw:timeline:{NAME}", f"lgw:timeline:load:{NAME}")

    async def noted(*steps):
        timeline = Timeline()
        for why, at in steps:
            timeline.note(InstanceState.READY, why, at=at)
            await timelines.write(link, NAME, timeline)
        return changes(redis_server, [NAME], *(datetime.fromtimestamp(THEN + more, UTC) for more in (0, 60)))

    yield noted
    await link.close()


@pytest.mark.parametrize(("kind", "most"), [(OTHER, MOST), (LOAD, MOST_OF_LOAD)], ids=["other steps", "load"])
async def test_steps_that_were_dropped_are_missed(noted, kind, most):
    before = [(OTHER, LONG_AGO), (LOAD, LONG_AGO)]
    assert await noted(*before) == ([], True)
    # As many came since as are kept of that kind: those of then may have been among what they have pushed out.
    assert await noted(*[(kind, LATELY + number) for number in range(most)]) == ([], False)


async def test_all_since_the_first_start_is_kept(noted):
    assert await noted((TransitionReason.STARTED, LATELY), (LOAD, LATELY + 1)) == ([], True)


async def test_empty_timeline_tells_nothing(noted):
    assert await noted() == ([], False)

"""Timelines of instances, as their web processes write them and pages read them."""

import redis

from bridge.fleet import timelines
from bridge.pool.instances.timeline import Timeline
from bridge.status.states import InstanceState
from bridge.status.transitions import LONGEST_DETAIL, MOST, MOST_OF_LOAD, TransitionReason
from gateway_project.lib.redis.redis_link import RedisLink

NAME = "w1-i7"


async def test_timeline_is_bounded_and_latest_first(redis_server):
    link, timeline = RedisLink(redis_server, timeout=30), Timeline()
    await link.execute("DEL", f"lgw:timeline:{NAME}")
    timeline.note(InstanceState.STARTING, TransitionReason.STARTED)
    timeline.note(InstanceState.BACKOFF, TransitionReason.FAILED, "x" * 2000, 5)
    await timelines.write(link, NAME, timeline)
    assert timeline.pending() == []
    latest, first = timelines.read(redis_server, NAME)
    assert (latest.state, latest.why, len(latest.detail), latest.generation) == ("backoff", "failed", LONGEST_DETAIL, 5)
    assert (first.state, first.why, first.detail) == ("starting", "started", "")
    assert first.at <= latest.at
    for _ in range(MOST + 50):
        timeline.note(InstanceState.READY, TransitionReason.CONNECTED)
        await timelines.write(link, NAME, timeline)
    assert {each.state for each in timelines.read(redis_server, NAME)} == {"ready"}
    assert len(timelines.read(redis_server, NAME)) == MOST
    assert 0 < await link.execute("TTL", f"lgw:timeline:{NAME}") <= 7 * 86_400
    await link.close()


async def test_timeline_waits_for_redis():
    link, timeline = RedisLink("unix:///nowhere/redis.sock"), Timeline()
    for _ in range(MOST + 50):
        timeline.note(InstanceState.READY, TransitionReason.CONNECTED)
    await timelines.write(link, NAME, timeline)
    assert len(timeline.pending()) == MOST
    await link.close()


async def test_step_of_another_version_is_passed_over(redis_server):
    with redis.Redis.from_url(redis_server) as client:
        client.delete(f"lgw:timeline:{NAME}")
        client.lpush(f"lgw:timeline:{NAME}", '{"at": 1, "state": "dreaming", "why": "tired"}')
    assert timelines.read(redis_server, NAME) == []


async def test_latest_step_stays_so_when_clocks_are_set(redis_server):
    link, timeline = RedisLink(redis_server), Timeline()
    await link.execute("DEL", f"lgw:timeline:{NAME}", f"lgw:timeline:load:{NAME}")
    timeline.note(InstanceState.READY, TransitionReason.CONNECTED, at=900.0)
    timeline.note(InstanceState.BUSY, TransitionReason.FULL, at=910.0)
    timeline.note(InstanceState.BACKOFF, TransitionReason.FAILED, at=100.0)
    await timelines.write(link, NAME, timeline)
    assert timelines.recent(redis_server, [NAME], 5)[NAME][0].why is TransitionReason.FAILED
    steps = [each.why for each in timelines.read(redis_server, NAME)]
    assert steps.index(TransitionReason.FAILED) < steps.index(TransitionReason.CONNECTED)
    await link.close()


async def test_load_never_pushes_out_what_failed(redis_server):
    link, timeline = RedisLink(redis_server), Timeline()
    await link.execute("DEL", f"lgw:timeline:{NAME}", f"lgw:timeline:load:{NAME}")
    timeline.note(InstanceState.BACKOFF, TransitionReason.FAILED, "it crashed", at=1.0)
    for number in range(MOST):
        timeline.note(InstanceState.BUSY, TransitionReason.FULL, at=2.0 + 2 * number)
        await timelines.write(link, NAME, timeline)
        timeline.note(InstanceState.READY, TransitionReason.ROOM, "1 s", at=3.0 + 2 * number)
        await timelines.write(link, NAME, timeline)
    found = timelines.read(redis_server, NAME)
    assert found[-1].detail == "it crashed"
    assert [each.why for each in found[:-1]] == [TransitionReason.ROOM, TransitionReason.FULL] * (MOST_OF_LOAD // 2)
    await link.close()

"""Web processes that know each other, over a real Redis."""

import asyncio
import time

import pytest

from bridge.peers.client import PeerClient
from bridge.peers.peers import Peers
from bridge.peers.report import PeerReport
from bridge.pool.policy import Affinity
from gateway_project.lib.redis import redis_keys
from gateway_project.lib.redis.redis_link import RedisLink


class Process:
    """One of them: what it reports is `report`, `None` when it is silent."""

    def __init__(self, redis_url, name, node="here", run="1", silence=30.0, **more):
        self.link = RedisLink(redis_url)
        more = {"socket": f"/{name}.sock", "url": f"https://{name}:1"} | more
        self.report = PeerReport(name, run, node, time.time(), **more)
        self.peers = Peers(self.link, PeerClient(node, "secret"), lambda: self.report, silence)

    def holder(self, name, generation):
        found = self.peers.holder(Affinity(name, generation))
        return found.report.name if found else None


@pytest.fixture
async def process(redis_server):
    made = []

    def process(*args, **more):
        made.append(Process(redis_server, *args, **more))
        return made[-1]

    yield process
    for each in made:
        await each.peers.client.close()
        await each.link.close()


async def met(*processes):
    for each in (*processes, *processes):
        await each.peers.exchange()


async def test_holder_is_who_reports_that_run(process):
    first, second = process("web-1", instances={"w1-i1": 1}), process("web-2", instances={"w2-i1": 4})
    await met(first, second)
    assert first.holder("w2-i1", 4) == "web-2"
    assert (first.holder("w2-i1", 3), first.holder("w1-i1", 1), first.holder("w9-i1", 4)) == (None, None, None)


async def test_news_are_looked_for_when_they_matter(process):
    first, second = process("web-1"), process("web-2", instances={"w2-i1": 1})
    await second.peers.exchange()
    found = await first.peers.find(Affinity("w2-i1", 1))
    assert (found.report.name, await first.peers.find(Affinity("w9-i1", 1))) == ("web-2", None)


@pytest.mark.parametrize("reached", [{"node": "here", "url": ""}, {"node": "there", "socket": ""}])
async def test_machine_decides_on_the_way(process, reached):
    assert PeerClient("here", "").reaches(process("web-2", **reached).report)


@pytest.mark.parametrize("missed", [{"node": "here", "socket": ""}, {"node": "there", "url": ""}])
async def test_peer_that_listens_nowhere_holds_nothing(process, missed):
    first, second = process("web-1"), process("web-2", instances={"w2-i1": 1}, **missed)
    await met(first, second)
    assert first.holder("w2-i1", 1) is None


async def test_new_start_ends_the_one_before(process):
    first, second = process("web-1"), process("web-2", instances={"w2-i1": 1})
    await met(first, second)
    before = first.peers.holder(Affinity("w2-i1", 1))
    again = process("web-2", run="2", instances={"w2-i1": 2})
    await met(again, first)
    assert before.gone.done()
    assert not first.peers.holder(Affinity("w2-i1", 2)).gone.done()


async def test_silent_process_is_gone_in_the_end(process):
    first, second = process("web-1", silence=2.0), process("web-2", instances={"w2-i1": 1})
    await met(first, second)
    peer = first.peers.holder(Affinity("w2-i1", 1))
    await second.link.execute("HDEL", redis_keys.PEERS, "web-2")
    await first.peers.exchange()
    assert (first.holder("w2-i1", 1), peer.gone.done()) == (None, False)  # asked for nothing, and waited for
    async with asyncio.timeout(30):
        while not peer.gone.done():
            await asyncio.sleep(0.05)
            await first.peers.exchange()


async def test_peers_stay_known_without_redis(process):
    first, second = process("web-1"), process("web-2", instances={"w2-i1": 1})
    await met(first, second)
    await first.link.close()
    await first.peers.exchange()
    assert first.holder("w2-i1", 1) == "web-2"


async def test_peers_outlive_an_outage_of_redis(process):
    first, second = process("web-1", silence=1.0), process("web-2", instances={"w2-i1": 1})
    await met(first, second)
    peer, link = first.peers.holder(Affinity("w2-i1", 1)), first.link
    first.peers._link = away = RedisLink("unix:///nowhere/redis.sock")
    await asyncio.sleep(1.1)
    await first.peers.exchange()
    await away.close()
    # It is back, empty, and the other process has not been there yet.
    await link.execute("HDEL", redis_keys.PEERS, "web-2")
    first.peers._link = link
    await first.peers.exchange()
    assert not peer.gone.done()
    await met(second, first)
    assert first.peers.holder(Affinity("w2-i1", 1)) is peer
    await second.link.execute("HDEL", redis_keys.PEERS, "web-2")
    async with asyncio.timeout(30):
        while not peer.gone.done():
            await asyncio.sleep(0.05)
            await first.peers.exchange()


async def test_peers_outlive_a_pause_of_all(process, monkeypatch):
    """As when the machine stands still: whoever goes on first finds the reports of the others too old."""
    first, second = process("web-1"), process("web-2", instances={"w2-i1": 1})
    await met(first, second)
    peer = first.peers.holder(Affinity("w2-i1", 1))
    await second.link.execute("HDEL", redis_keys.PEERS, "web-2")
    loop = asyncio.get_running_loop()
    before = loop.time
    monkeypatch.setattr(loop, "time", lambda: before() + 60)
    await first.peers.exchange()
    assert not peer.gone.done()
    await met(second, first)
    assert first.peers.holder(Affinity("w2-i1", 1)) is peer


async def test_report_of_another_version_harms_nobody(process):
    first, second = process("web-1"), process("web-2", instances={"w2-i1": 1})
    await second.link.execute("HSET", redis_keys.PEERS, "web-3", f"{time.time():.0f} what")
    await met(first, second)
    assert first.holder("w2-i1", 1) == "web-2"


async def test_changes_of_peers_are_followed(process):
    first, second = process("web-1"), process("web-2")
    tasks = [asyncio.create_task(each.peers.follow()) for each in (first, second)]
    async with asyncio.timeout(30):
        while not first.peers.known:
            await asyncio.sleep(0.01)
        second.report = PeerReport("web-2", "1", "here", 0, "/2.sock", "", {"w2-i1": 7})
        second.peers.instances_changed()
        while not first.holder("w2-i1", 7):
            await asyncio.sleep(0.01)
    assert first.holder("w2-i1", 7) == "web-2"
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)

"""What is away is the same from every process."""

import asyncio
from contextlib import asynccontextmanager

import msgspec
import pytest
import redis
from django.urls import reverse

from bridge.fleet import modes
from bridge.fleet.modes import Modes
from bridge.http.readiness import public_modes
from gateway_project.lib import degraded
from gateway_project.lib.degraded import Mode
from gateway_project.lib.redis.redis_link import RedisLink


@pytest.fixture
def client(redis_server):
    with redis.Redis.from_url(redis_server) as client:
        client.flushdb()
        yield client


@pytest.fixture(autouse=True)
def _well():
    yield
    modes._elsewhere.clear()
    for facts in degraded.active():
        degraded.end(facts.name)


@asynccontextmanager
async def view(url, process=1, processes=2, *, ready=lambda: True):
    link = RedisLink(url)
    try:
        yield Modes(link, process, [f"web-{number}" for number in range(1, processes + 1)], ready)
    finally:
        await link.close()


def report(client, process, *facts):
    """As another process does."""
    client.set(f"lgw:modes:{process}", msgspec.json.encode(facts), ex=60)


def names():
    return [facts.name for facts in modes.active()]


async def test_each_process_shows_what_any_of_them_misses(redis_server, client):
    report(client, "web-2", Mode("disk", "no room on /srv/secret", 5.0))
    report(client, "worker", Mode("database", "10.0.0.7 refused", 3.0), Mode("disk", "no room", 9.0))
    degraded.begin("flush", "silent")
    async with view(redis_server) as here:
        await here.exchange()
        assert [(facts.name, facts.since) for facts in modes.active()][:2] == [("database", 3.0), ("disk", 5.0)]
        assert names() == ["database", "disk", "flush"]
        assert degraded.read(client.get("lgw:modes:web-1"))[0].name == "flush"
        report(client, "web-2")
        report(client, "worker")
        await here.exchange()
        assert names() == ["flush"]


async def test_outside_answers_use_closed_words(redis_server, client):
    report(client, "web-2", Mode("disk", "no room on /srv/secret", 5.0))
    async with view(redis_server) as here:
        await here.exchange()
    assert public_modes() == [
        {"name": "disk", "since": "1970-01-01T00:00:05+00:00", "still_works": degraded.STILL_WORKS["disk"]}
    ]


async def test_malformed_modes_count_for_nothing(redis_server, client):
    client.set("lgw:modes:web-2", b"[}")
    report(client, "worker", Mode("gravity", "gone", 1.0))
    async with view(redis_server) as here:
        await here.exchange()
    assert names() == []


@pytest.mark.parametrize("process", ["worker", "beat"])
async def test_sudden_silence_is_missed_by_the_first(redis_server, client, monkeypatch, process):
    monkeypatch.setattr(modes, "MISSED_SEC", 0.05)
    monkeypatch.setattr(modes, "START_SEC", 0.0)
    for each in ("worker", "beat"):
        report(client, each)
    async with view(redis_server) as first, view(redis_server, process=2) as second:
        await first.exchange()
        client.delete(f"lgw:modes:{process}")
        await asyncio.sleep(0.06)
        await second.exchange()
        assert names() == []
        await first.exchange()
        assert names() == [process]
        report(client, process)
        await first.exchange()
        assert names() == []


async def test_pause_of_the_whole_machine_misses_nobody(redis_server, client, monkeypatch):
    """Reports have lapsed, and nothing is ready yet, when the first process goes on."""
    monkeypatch.setattr(modes, "START_SEC", 0.0)
    for each in ("worker", "beat"):
        report(client, each)
    ready = [True]
    async with view(redis_server, ready=lambda: ready[0]) as here:
        await here.exchange()
        client.delete("lgw:modes:worker", "lgw:modes:beat")
        before, ready[0] = here._clock, False
        here._clock = lambda: before() + 60
        await here.exchange()
        assert names() == []
        here._clock = lambda: before() + 60 + modes.MISSED_SEC - 1
        await here.exchange()
        here._clock = lambda: before() + 60 + modes.MISSED_SEC + 1
        await here.exchange()
        assert set(names()) == {"worker", "beat", "instances"}


async def test_worker_with_its_scheduler_is_missed_once(redis_server, client, monkeypatch):
    monkeypatch.setattr(modes, "MISSED_SEC", 0.05)
    monkeypatch.setattr(modes, "START_SEC", 0.0)
    client.set("lgw:scheduler", "worker")
    for each in ("worker", "beat"):
        report(client, each)
    async with view(redis_server) as here:
        await here.exchange()
        client.delete("lgw:modes:worker", "lgw:modes:beat")
        await asyncio.sleep(0.06)
        await here.exchange()
        assert names() == ["worker"]
        client.set("lgw:scheduler", "beat")
        await here.exchange()
        assert names() == ["worker", "beat"]


async def test_scheduler_that_hangs_alone_is_missed(redis_server, client, monkeypatch):
    monkeypatch.setattr(modes, "MISSED_SEC", 0.0)
    monkeypatch.setattr(modes, "START_SEC", 0.0)
    monkeypatch.setattr(modes, "ALONE_SEC", 0.05)
    client.set("lgw:scheduler", "worker")
    for each in ("worker", "beat"):
        report(client, each)
    async with view(redis_server) as here:
        await here.exchange()
        client.delete("lgw:modes:beat")
        await asyncio.sleep(0.06)
        await here.exchange()
        assert names() == ["beat"]


async def test_last_sign_before_a_restart_is_ignored(redis_server, client, monkeypatch):
    monkeypatch.setattr(modes, "MISSED_SEC", 0.0)
    report(client, "worker")
    async with view(redis_server) as here:
        await here.exchange()
        client.delete("lgw:modes:worker")
        await asyncio.sleep(0.01)
        await here.exchange()
        assert names() == []


async def test_processes_are_not_missed_without_redis(tmp_path, monkeypatch):
    monkeypatch.setattr(modes, "MISSED_SEC", 0.0)
    monkeypatch.setattr(modes, "START_SEC", 0.0)
    async with view(f"unix://{tmp_path}/nobody.sock") as here:
        await here.exchange()
        await asyncio.sleep(0.01)
        await here.exchange()
        assert set(names()) <= {"redis"}


async def test_instances_that_stay_away_are_a_mode(redis_server, monkeypatch):
    monkeypatch.setattr(modes, "MISSED_SEC", 0.0)
    states = [True, False, True]
    async with view(redis_server, ready=lambda: states.pop()) as here:
        await here.exchange()
        await asyncio.sleep(0.01)
        await here.exchange()
        assert "instances" in names()
        await here.exchange()
        assert "instances" not in names()


STILL = {
    "database": "known keys go on",
    "ledger": "turns go on and usage is filed; figures of some hours are wrong",
    "limits": "Redis is slow: turns go on; limits count per process",
}


@pytest.mark.django_db
@pytest.mark.parametrize("name", STILL)
def test_console_shows_what_is_away_and_why(admin_client, client, name):
    degraded.begin(name, "10.0.0.7 <refused>")
    page = admin_client.get(reverse("admin:index")).content.decode()
    assert f"Degraded: {name} since " in page
    assert f"(10.0.0.7 &lt;refused&gt;). Still: {STILL[name]}" in page
    assert degraded.WHAT_TO_DO[name] in page
    degraded.end(name)
    assert "Degraded: " not in admin_client.get(reverse("admin:index")).content.decode()


def test_each_part_says_what_to_do():
    assert degraded.WHAT_TO_DO.keys() == degraded.STILL_WORKS.keys()


@pytest.mark.django_db
def test_usage_says_that_its_figures_are_wrong(admin_client, client):
    said = "The ledger does not add up: figures of some hours are wrong."
    assert said not in admin_client.get("/usage/").content.decode()
    degraded.begin("ledger", "hours differ")
    assert said in admin_client.get("/usage/").content.decode()


async def test_the_order_is_the_same_in_every_process(redis_server, client):
    here, elsewhere = Mode("beat", "silent", 5.0), Mode("tasks", "refused", 5.0)
    report(client, "web-2", elsewhere)
    report(client, "web-1", here)
    orders = []
    for process, other in ((1, elsewhere), (2, here)):
        async with view(redis_server, process) as one:
            report(client, f"web-{3 - process}", other)
            own = here if process == 1 else elsewhere
            degraded._active[own.name] = own
            await one.exchange()
            orders.append(names())
            degraded.end(own.name)
    assert orders == [["tasks", "beat"]] * 2

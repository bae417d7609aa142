"""Instances that nobody is logged in to are given logins by themselves; with real services and a real database."""

import asyncio

import pytest
from asgiref.sync import sync_to_async

from accounts.models import AuditEntry
from bridge.fleet.login_spread import LoginSpread
from bridge.models import InstanceOrder
from tests.bridge.fleet.test_logins import bring, fleet, give
from tests.bridge.pools import in_state, until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def spread(redis_server):
    """Give the instances of a pool logins until the test ends."""
    tasks = []

    def start(pool):
        tasks.append(asyncio.create_task(LoginSpread(pool, redis_server).follow()))

    yield start
    for task in tasks:
        task.cancel()


@sync_to_async
def assigned():
    return {name: label for name, label in InstanceOrder.objects.values_list("name", "login__label") if label}


@sync_to_async
def told():
    rows = AuditEntry.objects.filter(object_type="bridge.instanceorder", actor="login spread").order_by("object_id")
    return [(row.source, row.action, row.object_id) for row in rows]


async def test_instances_without_login_are_given_one(redis_server, tmp_path, spread):
    async with fleet(redis_server, tmp_path / "w1", tmp_path / "w2") as pool:
        await in_state(pool, "login_required", "login_required")
        spread(pool)  # there is none yet: it looks again
        # Turns wait for one until that is known.
        await until(pool, lambda: any(each.back_within(1) for each in pool.instances))
        await until(pool, lambda: not any(each.back_within(1) for each in pool.instances))
        await bring(tmp_path / "files")
        await in_state(pool, "ready", "ready")
    assert await assigned() == {"w1-i1": "main", "w1-i2": "main"}
    assert await told() == [("schedule", "created", "w1-i1"), ("schedule", "created", "w1-i2")]


async def test_assigned_login_stays_though_it_is_lost(redis_server, tmp_path, spread):
    lost = await bring(tmp_path / "lost", label="a lost one")
    await give(lost, "w1-i1")
    async with fleet(redis_server, tmp_path / "w1", tmp_path / "w2") as pool:
        await in_state(pool, "ready", "login_required")
        (tmp_path / "w1" / "simulator.json").write_text('{"login": "out"}')
        await in_state(pool, "login_required", "login_required")
        await bring(tmp_path / "other", label="other", name="bob")
        spread(pool)
        await in_state(pool, "login_required", "ready")
    assert (await assigned())["w1-i1"] == "a lost one"
    assert [name for *_, name in await told()] == ["w1-i2"]


async def test_login_taken_away_is_not_given_back(redis_server, tmp_path):
    login = await bring(tmp_path / "files")
    await give(login, "w1-i1")
    async with fleet(redis_server, tmp_path / "w1", tmp_path / "w2") as pool:
        await in_state(pool, "ready", "login_required")
        assert pool.upkeep.without_login() == ["w1-i2"]
        await give(None, "w1-i1")
        # By a successor in its place.
        await until(pool, lambda: [each.state for each in pool.instances] == ["login_required"] * 2)
        assert pool.upkeep.without_login() == ["w1-i2"]
    # Another run of the web process knows nothing of that.
    async with fleet(redis_server, tmp_path / "w1") as pool:
        await in_state(pool, "login_required")
        assert pool.upkeep.without_login() == ["w1-i1"]

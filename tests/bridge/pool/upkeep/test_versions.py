"""Instances run the version they are ordered to run, and nothing that is not what was installed."""

import asyncio
import hashlib
import sys

import msgspec
import pytest

from bridge.pool.instances.orders import EVERY, Order
from bridge.pool.options import InstanceOptions
from bridge.status.versions import WantedVersion
from tests.bridge.pools import ROOT, in_state, running, simulator, until

SMOKE = InstanceOptions(smoke_model="org_auto", orders_within=10.0)


@pytest.fixture
def installed(tmp_path):
    """Write a program that is the simulator and reports that version; what is wanted of it."""

    def write(version):
        script = f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m bridge.simulator "$@" --login=auto '
        path = tmp_path / version
        path.write_text(f"{script}--version_string={version}\n")
        path.chmod(0o755)
        return WantedVersion(version, version, hashlib.sha256(path.read_bytes()).hexdigest())

    return write


def over(folder, pool):
    """The upkeep of the pool, which finds versions in that folder."""
    pool.upkeep.versions.spec_of = lambda before, wanted: msgspec.structs.replace(
        before, upstream="lingma", command=(str(folder / wanted.executable),), arguments=(),
        version=wanted.version, sha256=wanted.sha256,
    )  # fmt: skip
    return pool.upkeep


def two(folder):
    specs = [simulator(folder / name, "--login=auto") for name in ("i1", "i2")]
    return running(specs, instances=SMOKE, ready=False)


def reported(pool):
    return [(each.installed, each.version) for each in pool.statuses()]


async def test_instances_follow_canary_then_all_then_back(tmp_path, installed):
    old, new = installed("2.9.0"), installed("2.11.7")
    async with two(tmp_path) as pool:
        over(tmp_path, pool).obey({EVERY: Order(version=old)})
        await in_state(pool, "ready", "ready")
        # They begin as it: nothing is started twice.
        assert reported(pool) == [("2.9.0", "2.9.0")] * 2
        assert [each.restarts for each in pool.statuses()] == [0, 0]
        pool.upkeep.obey({EVERY: Order(version=old), "w1-i1": Order(version=new)})
        await until(pool, lambda: reported(pool) == [("2.11.7", "2.11.7"), ("2.9.0", "2.9.0")])
        pool.upkeep.obey({EVERY: Order(version=new)})
        await until(pool, lambda: reported(pool) == [("2.11.7", "2.11.7")] * 2)
        pool.upkeep.obey({EVERY: Order(version=old)})
        await until(pool, lambda: reported(pool) == [("2.9.0", "2.9.0")] * 2)
        assert {each.upstream for each in pool.instances} == {"lingma"}


async def test_version_changed_on_disk_is_not_started(tmp_path, installed):
    old, new = installed("2.9.0"), installed("2.11.7")
    (tmp_path / "2.11.7").write_text("#!/bin/sh\ntrue\n")
    async with two(tmp_path) as pool:
        over(tmp_path, pool).obey({EVERY: Order(version=old)})
        await in_state(pool, "ready", "ready")
        pool.upkeep.obey({EVERY: Order(version=new)})
        await until(pool, lambda: "is not what was installed" in pool.statuses()[0].last_error)
        assert pool.statuses()[0].not_replaced
        # Back again: nothing was ended, so nothing begins anew.
        pids = [each.pid for each in pool.statuses()]
        pool.upkeep.obey({EVERY: Order(version=old)})
        async with asyncio.timeout(30):
            while any(each.not_replaced for each in pool.statuses()):
                await asyncio.sleep(0.05)
        assert [each.pid for each in pool.statuses()] == pids


async def test_a_version_elsewhere_does_not_start(tmp_path):
    async with two(tmp_path) as pool:
        over(tmp_path, pool).obey({EVERY: Order(version=WantedVersion("9.9", "9.9", "none"))})
        await in_state(pool, "backoff", "backoff")
        assert "is this version installed on this machine?" in pool.statuses()[0].last_error


async def test_settings_decide_without_an_order(tmp_path, installed):
    new = installed("2.11.7")
    async with two(tmp_path) as pool:
        over(tmp_path, pool).obey({"w1-i1": Order(version=new)})
        await in_state(pool, "ready", "ready")
        assert [each.upstream for each in pool.instances] == ["lingma", "simulator"]
        pool.upkeep.obey({"w1-i1": Order()})
        await until(pool, lambda: [each.upstream for each in pool.instances] == ["simulator"] * 2)

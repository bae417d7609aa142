"""What instances take of their machine, and turns that stand still."""

import asyncio
import os
from threading import Event

import pytest

from bridge.lingma.dialects.base import Ask
from bridge.pool import disk
from bridge.pool.instances import measure
from bridge.pool.instances.measure import BLOCK, PAGE, Measure, disk_of, measured, memory_of
from bridge.pool.options import InstanceOptions
from bridge.pool.upkeep import measuring
from tests.bridge.lingma.conftest import ended
from tests.bridge.lingma.service import Service, finish
from tests.bridge.pools import attached, running, simulator


def process(proc, pid, session, pages, name="Lingma"):
    (proc / str(pid)).mkdir()
    fields = ["S", "1", str(session), str(session), *["0"] * 17, str(pages), "0"]
    (proc / str(pid) / "stat").write_text(f"{pid} ({name}) {' '.join(fields)}\n")


def test_memory_is_that_of_all_in_the_session(tmp_path):
    for pid, session, pages, name in (
        (7, 7, 10, "Lingma"),
        (8, 7, 3, "a) b (c"),
        (9, 9, 5, "other"),
        (5, 1, 9, "init"),
    ):
        process(tmp_path, pid, session, pages, name)
    (tmp_path / "11").mkdir()  # has just ended
    (tmp_path / "self").mkdir()
    assert memory_of({7, 9, 12}, tmp_path) == {7: 13 * PAGE, 9: 5 * PAGE}
    assert memory_of({7}, tmp_path / "nowhere") == {}


def test_disk_is_that_of_all_files(tmp_path):
    (tmp_path / "cache" / "deep").mkdir(parents=True)
    (tmp_path / "cache" / "deep" / "index").write_bytes(b"x" * 100_000)
    (tmp_path / "outside").symlink_to("/")
    paths = (tmp_path / "cache", tmp_path / "cache" / "deep", tmp_path / "cache" / "deep" / "index")
    assert disk_of(tmp_path) == sum(os.lstat(path).st_blocks for path in (*paths, tmp_path / "outside")) * BLOCK
    assert disk_of(tmp_path / "nowhere") == 0
    assert disk_of(paths[2]) is None


def test_many_files_are_counted_to_a_bound(tmp_path, monkeypatch):
    monkeypatch.setattr(measure, "MOST_FILES", 3)
    for folder in "ab":
        (tmp_path / folder).mkdir()
        for number in range(3):
            (tmp_path / folder / str(number)).write_bytes(b"x" * 10_000)
    one = os.lstat(tmp_path / "a" / "0").st_blocks * BLOCK
    assert 3 * one <= disk_of(tmp_path) < 6 * one


def test_instance_that_does_not_run_has_no_memory(tmp_path):
    process(tmp_path, 7, 7, 10)
    assert measured([(0, tmp_path / "a"), (7, tmp_path / "b"), (8, tmp_path / "b")], tmp_path) == [
        Measure(0, 0), Measure(10 * PAGE, 0), Measure(None, 0),
    ]  # fmt: skip


async def look(pool):
    """Until it is measured while its service runs."""
    while (pool.statuses()[0].memory or 0) < 1 << 20:
        await pool.upkeep._measuring.look()
        await asyncio.sleep(0.01)
    return pool.statuses()[0]


async def test_started_instance_is_measured(tmp_path):
    async with running([simulator(tmp_path, "--login=auto")]) as pool:
        status = await look(pool)
        assert status.disk == disk_of(tmp_path) > 0


async def test_disk_that_hangs_leaves_the_measure(tmp_path, monkeypatch):
    monkeypatch.setattr(disk, "WAIT_SEC", 0.05)
    over = Event()
    async with running([simulator(tmp_path, "--login=auto")]) as pool:
        before = (await look(pool)).memory
        monkeypatch.setattr(measuring, "measured", lambda _: over.wait(30))
        await pool.upkeep._measuring.look()
        over.set()
        assert pool.statuses()[0].memory == before


@pytest.mark.parametrize("stuck", [0.05, 60])
async def test_silent_turn_stands_still(stuck):
    options = InstanceOptions(stuck=stuck)
    async with Service() as service, running(attached(service), instances=options) as pool:
        peer = await service.peers.get()
        assert pool.statuses()[0].memory is None
        turn = pool.instances[0].ask(Ask("r1", "s1", "Hello", "org_auto"))
        await asyncio.sleep(0.1)
        assert pool.statuses()[0].stuck == (stuck < 1)
        await peer.push(finish("r1"))
        await ended(turn)
        assert pool.statuses()[0].stuck == 0

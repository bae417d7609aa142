"""Pools to run, over scripted services or over simulators."""

import asyncio
import sys
from contextlib import asynccontextmanager
from pathlib import Path

from bridge.pool.options import InstanceOptions, InstanceSpec, PoolOptions
from bridge.pool.pool import Pool
from tests.bridge.lingma.service import DIALECT

ROOT = str(Path(__file__).parents[2])


def attached(*services):
    return [InstanceSpec("attached", DIALECT, attach=service.url) for service in services]


def simulator(work_dir, *arguments):
    """A simulator process of its own."""
    command = (sys.executable, "-m", "bridge.simulator")
    return InstanceSpec("simulator", DIALECT, command, arguments, work_dir, environment={"PYTHONPATH": ROOT})


async def until(pool, condition):
    """Wait for a change of the instances after which the condition holds."""
    changed = asyncio.Event()
    pool.on_change = changed.set
    async with asyncio.timeout(30):
        while not condition():
            changed.clear()
            await changed.wait()


async def in_state(pool, *states):
    await until(pool, lambda: [instance.state for instance in pool.instances] == list(states))


@asynccontextmanager
async def running(sources, options=PoolOptions(), instances=InstanceOptions(), ready=True, process=1):  # noqa: B008
    """A pool that is started, and stopped in the end."""
    pool = Pool(sources, process, options, instances)
    pool.start()
    try:
        if ready:
            await in_state(pool, *["ready"] * len(sources))
        yield pool
    finally:
        pool.on_change = lambda: None
        await pool.stop()

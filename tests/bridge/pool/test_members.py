"""The instances of a process as they begin and end."""

import asyncio

from bridge.pool.instances.instance import Instance
from bridge.pool.members import Members
from bridge.pool.options import InstanceOptions
from gateway_project.lib.ticker import Ticker
from tests.bridge.pools import attached


async def test_two_may_end_one_instance_at_once(services):
    (spec,) = attached(services[0])
    instance, members = Instance("w1-i1", 1, spec, InstanceOptions(), Ticker(), lambda: None), Members([])
    members.start(instance)
    async with asyncio.timeout(30):
        assert await asyncio.gather(members.end(instance), members.end_others("w1-i1")) == [None, None]

"""All that operators want of pools, in the memory of a web process; a change is there within a second."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from bridge.fleet.maintenance import read_windows
from bridge.fleet.orders import read_orders
from bridge.fleet.sizes import read_sizes
from bridge.fleet.table_watcher import TableWatcher
from bridge.pool.instances.orders import Order
from bridge.pool.upkeep.windows import Window
from gateway_project.lib.redis import redis_keys
from gateway_project.lib.redis.redis_link import RedisLink

POLL_SEC: Final = 1.0
EVERY_SEC: Final = 10.0
"""So often it is read although nobody has announced a change."""


class Wanted(NamedTuple):
    """What is wanted of all processes."""

    orders: dict[str, Order]
    """By instance; EVERY is for all others."""
    windows: tuple[Window, ...]
    sizes: dict[int, int]
    """Instances by web process."""


def read_wanted() -> Wanted:
    """Raise django.db.Error."""
    return Wanted(read_orders(), read_windows(), read_sizes())


def wanted_watcher(link: RedisLink, changed: Callable[[Wanted], None]) -> TableWatcher[Wanted]:
    """Calls `changed` when it is first read and whenever it may be something else."""
    # Also without Redis an order is obeyed within two seconds: its tables are few rows, so they are read at each look.
    return TableWatcher(link, redis_keys.ORDERS, read_wanted, changed, every=EVERY_SEC, poll=POLL_SEC, soon=True)

"""All connections of a web process: how many there may be, whose they are, and regular checks of each."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
from collections import Counter
from typing import TYPE_CHECKING

from gateway_project.lib.address_share import share_of
from gateway_project.server import deadlines as http_deadlines
from gateway_project.server.bounds import Bounds
from gateway_project.server.deadlines import IDLE, IN_HEAD

if TYPE_CHECKING:
    from gateway_project.server.forwarded import TrustedProxies
    from gateway_project.server.protocol import BoundedHttpProtocol
    from gateway_project.server.refusals import Refusal

logger = logging.getLogger(__name__)

MOST = 10_000  # connections of one process
SHARE = 0.8  # of the descriptors that a process may have; the rest is for instances, stores and files
EXTRA = 32  # connections beyond the most, for health checks
SPARE = 16  # descriptors that an instance's start and a new connection to Redis take together, and some
LOG_EVERY_SEC = 10.0
MOST_DESCRIPTORS = 65_536


def raise_descriptor_limit() -> int:
    """Take as many descriptors as this user may have. Return how many that are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):  # macOS reports no limit and allows less
            return soft
        return wanted
    return MOST_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft


def most_of(descriptors: int) -> int:
    """How many connections fit into so many descriptors."""
    return max(1, min(MOST, int(descriptors * SHARE) - EXTRA))


def descriptors_left(count: int) -> bool:
    """Whether so many descriptors can still be opened."""
    opened: list[int] = []
    try:
        # Opened and closed again: the kernel gives no number of those left, and others of the process take them at any
        # time.
        opened += (os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC) for _ in range(count))
    except OSError:
        return False
    finally:
        for each in opened:
            os.close(each)
    return True


class Connections:
    """One address may hold half of the places, unless it is a proxy that is trusted.

    Beyond, connections are taken for health checks alone; the oldest of those without a request make room.
    """

    def __init__(self, most: int, trusted: TrustedProxies, bounds: Bounds | None = None) -> None:
        self.bounds = bounds or Bounds()
        self.now = 0.0
        """The time of the last check; nobody else reads the clock."""
        self._most = most
        self._trusted = trusted
        self._open: set[BoundedHttpProtocol] = set()
        self._extra: dict[BoundedHttpProtocol, None] = {}
        self.head_bytes = 0
        """Of all heads that are not complete."""
        self._peers: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._logged_at = 0.0

    def __len__(self) -> int:
        return len(self._open)

    def enter(self, connection: BoundedHttpProtocol) -> bool:
        """Whether there is a place; without one the connection is good for a health check."""
        peer = connection.peer = self._peer(connection)
        if len(self._open) < self._most and self._peers[peer] < max(1, self._most // 2):
            self._open.add(connection)
            if peer:
                self._peers[peer] += 1
            return True
        self._refused["too_many_connections"] += 1
        if len(self._extra) >= EXTRA:
            self._make_room()
        # Connections without a place are kept, so that a health check is answered while the gateway is full.
        self._extra[connection] = None
        return False

    def leave(self, connection: BoundedHttpProtocol) -> None:
        """Forget a connection that has ended, and give its place back."""
        self.forget_head(connection)
        self._extra.pop(connection, None)
        if connection in self._open:
            self._open.discard(connection)
            if peer := connection.peer:
                self._peers[peer] -= 1
                if not self._peers[peer]:
                    del self._peers[peer]

    def hold_head(self, connection: BoundedHttpProtocol, size: int) -> bool:
        """Whether there is room for more of a head that is not complete: all of them share it."""
        # Counted for the connection too, so that `forget_head` gives back exactly what was taken.
        connection.head_bytes += size
        self.head_bytes += size
        return self.head_bytes <= self.bounds.all_heads_bytes

    def forget_head(self, connection: BoundedHttpProtocol) -> None:
        """Stop counting the head: it is complete, or given up."""
        if connection.head_bytes:
            self.head_bytes -= connection.head_bytes
            connection.head_bytes = 0

    def _make_room(self) -> None:
        waiting = (each for each in self._extra if each.phase in (IDLE, IN_HEAD) and not each.answers)
        # One that waits for a request goes before one that is answered; without any, the oldest of all.
        oldest = next(waiting, None) or next(iter(self._extra))
        del self._extra[oldest]
        oldest.raw.abort()

    def _peer(self, connection: BoundedHttpProtocol) -> str:
        """Whose share it counts to: an address, of IPv6 the network. Nobody's when a trusted proxy brings it."""
        host = connection.client[0] if connection.client else ""
        if not host or host in self._trusted:
            return ""
        return share_of(host)

    def count_refusal(self, refusal: Refusal) -> None:
        """Count a request that was refused before it was routed: it has no usage row and no log line of its own."""
        self._refused[refusal.code] += 1

    def check(self) -> None:
        """Called about once a second: end connections that are over a deadline or a bound, and log what was refused."""
        before, self.now = self.now, asyncio.get_running_loop().time()
        # Copies: a connection that is ended here leaves the sets while they are walked.
        for connection in [*self._open, *self._extra]:
            http_deadlines.check(connection, self.now, before)
        self._bound_unsent()
        self._keep_spare()
        if self._refused and self.now - self._logged_at >= LOG_EVERY_SEC:
            self._logged_at = self.now
            counts = ", ".join(f"{count} {code}" for code, count in sorted(self._refused.items()))
            logger.warning("refused: %s; %d of %d connections open", counts, len(self._open), self._most)
            self._refused.clear()

    def _keep_spare(self) -> None:
        """When descriptors run out, close those that have waited longest for a request: instances need them."""
        if descriptors_left(SPARE):
            return
        waiting = (each for each in (*self._extra, *self._open) if each.phase in (IDLE, IN_HEAD) and not each.answers)
        # Not all of them: SPARE closed ones are enough for the next start of an instance.
        for connection in sorted(waiting, key=lambda each: each.since)[:SPARE]:
            connection.raw.abort()
        self._refused["no_descriptors"] += 1

    def _bound_unsent(self) -> None:
        """Answers that nobody takes share a bound. Beyond it, those of the address that holds most of them are cut."""
        waiting = [(each.raw.get_write_buffer_size(), each) for each in (*self._open, *self._extra) if each.unsent]
        excess = sum(size for size, _ in waiting) - self.bounds.all_unsent_bytes
        # The usual case, and the sum is all it costs.
        if excess <= 0:
            return
        held: Counter[str] = Counter()
        for size, connection in waiting:
            held[connection.peer] += size
        for size, connection in sorted(waiting, key=lambda pair: (held[pair[1].peer], pair[0]), reverse=True):
            if excess > 0:
                excess -= size
                self._refused["unread_answers"] += 1
                connection.raw.abort()

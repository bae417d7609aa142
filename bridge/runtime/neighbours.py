"""The other web processes: those of this machine lend each other places, those of all machines hand turns over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.peers.guests import Guests
from bridge.peers.listeners import Listener, Listeners, Tls
from bridge.peers.report import PeerReport
from bridge.peers.secret import peer_secret
from bridge.pool.pool import Pool
from bridge.runtime.new_id import new_id
from bridge.siblings.siblings import Siblings
from gateway_project.lib.redis.redis_link import RedisLink

if TYPE_CHECKING:
    from bridge.peers.peers import Peers
    from gateway_project.env import Environment

serve: Callable[[list[Listener]], Coroutine[Any, Any, None]] | None = None
"""Serves other processes on these sockets. The application sets it, as no room knows the server."""


class Neighbours:
    """Of a process that is alone there are none. `drain()` before `returned()`."""

    def __init__(self, env: Environment, data_dir: Path, pepper: bytes, link: RedisLink, pool: Pool) -> None:
        self.guests = Guests()
        """Turns of other processes."""
        self.secret = b""
        """What they have to show; without peers there is none."""
        self.peers: Peers | None = None
        self._env = env
        self._pool = pool
        self._until = 0.0
        """As long others may go on once this process stops, as the time of the loop."""
        self._siblings: Siblings | None = None
        if env.web_processes > 1:
            self._siblings = Siblings(pool, env.web_process, env.web_processes, data_dir)
        self._listeners: Listeners | None = None
        if env.has_peers:
            self._meet_peers(data_dir, pepper, link)

    @property
    def processes(self) -> int:
        """Web processes of all machines, as far as they hand turns over, and as they were known last."""
        return max(self._env.web_processes, 1 + len(self.peers.known) if self.peers is not None else 0)

    @property
    def use_this(self) -> bool:
        """Other processes still have turns or places of this one."""
        return bool(self.guests.count) or (self._siblings is not None and self._siblings.lends)

    def start(self) -> list[Callable[[], Coroutine[Any, Any, None]]]:
        """What is to run as long as the process does. Before the pool starts: it asks siblings from then on."""
        work: list[Callable[[], Coroutine[Any, Any, None]]] = []
        if self._siblings is not None:
            self._pool.siblings = self._siblings
            work.append(self._siblings.follow)
        if self.peers is not None:
            work += [self.peers.follow, self._serve]
        return work

    def instances_changed(self) -> None:
        """Tell them soon."""
        if self._siblings is not None:
            self._siblings.instances_changed()
        if self.peers is not None:
            self.peers.instances_changed()

    def drain(self) -> None:
        """Lend no more places and take no turns of others; what is lent, and what was taken, goes on."""
        if self._pool.lends:
            self._pool.lends = False
            self._until = asyncio.get_running_loop().time() + self._env.drain_sec
            self.instances_changed()

    async def returned(self) -> None:
        """Until others have nothing of this process any more, or the time since `drain` is up that own turns have."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._until):
                if self._siblings is not None:
                    await self._siblings.returned()
                await self.guests.gone()

    def _meet_peers(self, data_dir: Path, pepper: bytes, link: RedisLink) -> None:
        from bridge.peers.client import PeerClient  # 12 MiB, for nothing where a process is alone
        from bridge.peers.peers import Peers

        env = self._env
        secret = peer_secret(env.peer_secret.get_secret_value(), pepper)
        self.secret = secret.encode()
        host, port = env.peer_address
        tls = Tls(env.peer_tls_cert, env.peer_tls_key, env.peer_tls_ca)
        self._listeners = Listeners(data_dir.resolve(), env.web_process, host, port, tls)
        client = PeerClient(env.node, secret, tls.client())
        self.peers = peers = Peers(link, client, partial(self._report, new_id()))
        self._pool.has_room_elsewhere = lambda: peers.has_room
        self._pool.plans.are_elsewhere = lambda: peers.take_turns

    def _report(self, run: str) -> PeerReport:
        env, listeners, pool = self._env, self._listeners, self._pool
        ready = {each.name: each.generation for each in pool.instances if each.is_ready and pool.lends}
        path, url = (listeners.path, listeners.url) if listeners is not None else ("", "")
        free = pool.free if pool.lends and not pool.waiting else 0
        return PeerReport(env.process_name, run, env.node, time.time(), path, url, ready, free)

    async def _serve(self) -> None:
        if serve is not None and self._listeners is not None:
            await serve(self._listeners.open())

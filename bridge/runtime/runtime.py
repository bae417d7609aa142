"""Settings to one engine, and all that a web process serves requests with."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accounts.content.outbox import Outbox
from accounts.keys.in_use import KeysInUse
from accounts.keys.keyring import KeyRing
from accounts.ledger.ledger import Ledger
from accounts.ledger.row import Amendment
from accounts.ledger.spool_sender import SpoolSender
from accounts.limits.admission import Limits
from accounts.limits.admitted import Admission
from accounts.limits.key_report import KeyReports
from bridge.bounds.load import BodyLoad
from bridge.bounds.patience import Pace
from bridge.images.pipeline import ImagePipeline
from bridge.lingma.dialects.a.dialect import DialectA
from bridge.lingma.dialects.base import Dialect
from bridge.runtime.followers import Followers
from bridge.runtime.neighbours import Neighbours
from bridge.runtime.new_id import new_id
from bridge.runtime.options import engine_options, image_options, made_pool
from bridge.telemetry import metrics, spans
from bridge.telemetry.refusals import Refusals
from bridge.telemetry.running import RunningTurns
from bridge.turn.engine import Engine
from bridge.turn.record import TurnRecord
from gateway_project.lib import upstream
from gateway_project.lib.redis.redis_link import RedisLink
from sessions_store.responses import ResponseStore
from sessions_store.store import SessionStore

if TYPE_CHECKING:
    from gateway_project.env import Environment

BULK_SEC = 4.0  # how long Redis may be silent about a large record


class Runtime:
    """All that one web process serves requests with: built here, started by `start`, ended by `stop`."""

    def __init__(self, env: Environment, data_dir: Path, pepper: bytes, dialect: Dialect | None = None) -> None:
        self.env = env
        self.upstream: bytes = env.upstream.encode()
        self.trace_share = env.trace_share
        """Of turns that went well, so many leave a trace: 0 none, 1 all."""
        self.spans = spans.Spans(env.process_name, env.node) if spans.are_wanted() else None
        self.cors_origins = frozenset(env.cors_allowed_origins)
        self.link = RedisLink(env.redis_or_embedded_url)
        self.keys = KeyRing(pepper, self.link)
        self.in_use = KeysInUse(self.keys)
        self.running = RunningTurns()
        self.unauthenticated = Pace()
        self.key_reports = KeyReports()
        self.limits = Limits(self.link, lambda: self.neighbours.processes)
        self.bodies = BodyLoad(env.request_buffer_bytes)
        # Set by a supervisor that runs a worker as well, which files what this process spools.
        sends = "SPOOL_IS_FILED" not in os.environ
        spool = data_dir / "spool"
        self.ledger = Ledger(self.link, spool, f"w{env.web_process}-{new_id()}", sends_spool=sends)
        self._sender = SpoolSender(env.redis_or_embedded_url, self.ledger, spool) if sends else None
        self.refusals = Refusals(self.ledger)
        self.pool = made_pool(env, data_dir, dialect or DialectA(env.lingma_ask_overrides))
        self.ticker = self.pool.ticker
        """Calls whatever lives as long as a turn."""
        # A link of its own: a record of megabytes must not hold up the short commands of every turn.
        self.bulk = RedisLink(env.redis_or_embedded_url, timeout=BULK_SEC, part="")
        self.contents = Outbox(self.bulk, metrics.content_dropped)
        self.responses = ResponseStore(self.link, self.bulk, ttl=env.responses_ttl_sec)
        self.engine = Engine(
            self.pool, self._sessions(), ImagePipeline(image_options(env)), engine_options(env), new_id
        )
        self.neighbours = Neighbours(env, data_dir, pepper, self.link, self.pool)
        self.peers = self.neighbours.peers
        """Here as well, because each turn asks for them."""
        self.followers = Followers(env, self.link, self.bulk, self.ledger, self.running, self.engine)

    def start(self) -> None:
        """Start the instances and what runs beside the turns."""
        # Before the pool starts: the first change of state is announced already.
        self.pool.on_change = self._on_change
        if self._sender is not None:
            self._sender.start()
        of_neighbours = self.neighbours.start()
        self.pool.start()
        self.followers.start(
            (self.keys.listen, self.keys.preload, self.in_use.follow, self.refusals.follow, *of_neighbours)
        )

    def later(self, work: Coroutine[Any, Any, object]) -> None:
        """Have something done that no turn needs to wait for; a stop waits for it."""
        self.engine.in_background(work)

    def await_usage(self, record: TurnRecord, request_id: str, started_at: float, admission: Admission) -> None:
        """Should the service still log what the turn has cost: amend its row, and its limits by the difference."""
        assert record.awaited is not None  # noqa: S101 - the caller has looked
        estimated = record.prompt_tokens + record.completion_tokens

        def amend(prompt: int, completion: int) -> None:
            self.later(self.ledger.amend(Amendment(request_id, started_at, prompt, completion)))
            self.later(admission.amend(prompt + completion - estimated))

        self.pool.late_usages.expect(record.awaited, amend)

    async def stop(self) -> None:
        """End the instances; what was left for later is done first, and what other processes have borrowed ends."""
        # The order matters: lend nothing new, wait for what is lent, end the instances, write what is left, then
        # close Redis.
        self.neighbours.drain()
        await self.neighbours.returned()
        # Before `settle`: turns that end now still leave rows to be written.
        await self.pool.stop()
        await self.engine.wait_for_background()
        await self.limits.settled()
        await self.refusals.file()
        if self.spans is not None:
            await self.spans.close()
        await self.followers.stop()
        upstream.set_running("")
        await self.link.close()
        await self.bulk.close()
        # Last: a row whose answer from Redis was still due is in the spool only now.
        if self._sender is not None:
            with suppress(RuntimeError):  # no thread is left; the files are sent at the next start
                await asyncio.to_thread(self._sender.stop)

    def _sessions(self) -> SessionStore | None:
        if not self.env.session_reuse_enabled:
            return None
        ttl, most = self.env.session_cache_ttl_sec, self.env.session_cache_max_entries
        return SessionStore(self.link, ttl=ttl, max_entries=most)

    def _on_change(self) -> None:
        self.followers.take_models()
        kinds = {each.upstream for each in self.pool.instances}
        # Whoever might get a made up answer is told so.
        kind = "simulator" if "simulator" in kinds else "/".join(sorted(kinds))
        self.upstream = kind.encode()
        upstream.set_running(kind)
        self.followers.heartbeat.instance_changed()
        self.neighbours.instances_changed()

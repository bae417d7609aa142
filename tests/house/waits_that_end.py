"""The waits without a deadline of their own, by the reason why each ends."""

WAITS = {
    "A stopped instance rests until operators want something else, or the gateway stops.": [
        "bridge/pool/lifecycle.py: await self._wake.wait()",
    ],
    "A lock that is held for work in memory only; no I/O and no other lock inside.": [
        "gateway_project/lib/disk.py: _lock",
        "accounts/ledger/unwritten.py: self._lock",
        "gateway_project/lib/attempts.py: _lock",
        "gateway_project/lib/prometheus_values.py: lock",
        "gateway_project/postgresql/connection_pool.py: self._lock",
    ],
    "No queue but a context variable.": [
        "accounts/audit/context.py: _acting.get()",
        "accounts/audit/context.py: _recording.get()",
    ],
    "Not a lock but an open file; it was locked with LOCK_NB.": [
        "gateway_project/supervise/preflight.py: lock",
    ],
    "Whoever holds it has deadlines for all that it waits for (WAIT_SEC of a disk, GIVE_UP_SEC of a query).": [
        "bridge/pool/logins.py: self._lock",
    ],
    "The result of a future that is done.": [
        "bridge/pool/disk.py: running.result()",
        "bridge/pool/replacements.py: running.result()",
        "gateway_project/server/pages.py: entering.result()",
        "gateway_project/server/pages.py: gone.result()",
        "gateway_project/lib/query_thread.py: running.result()",
        "accounts/ledger/ledger.py: self._counting.result()",
        "bridge/turn/attempt.py: work.result()",
        "bridge/turn/places.py: waiter.lease.result()",
        "bridge/http/endpoints.py: running.result()",
        "bridge/lingma/connection.py: done.result()",
        "bridge/lingma/uploads.py: done.result()",
        "bridge/pool/service_link.py: lost.result()",
        "bridge/pool/lease.py: self.lease.result()",
        "bridge/pool/remote.py: result.result()",
        "bridge/pool/upstream.py: exited.result()",
        "bridge/pool/upstream.py: process.exited.result()",
        "gateway_project/postgresql/bounded.py: made.result()",
    ],
    "Who does the work has a deadline (GIVE_UP_SEC of a query, WITHIN_SEC of a smoke test, SETTLE_SEC of a crash).": [
        "bridge/turn/engine.py: await asyncio.shield(check)",
        "accounts/keys/reader.py: await answer",
        "accounts/limits/key_report.py: await asyncio.shield(task)",
        "accounts/keys/keyring.py: await asyncio.shield(reading)",
        "accounts/keys/in_use.py: await asyncio.gather(*[self._check_key(digest) for digest in self._holders])",
        "bridge/turn/smoke.py: await asyncio.gather(*[smoke_chat(each, model, new_id) for each in instances])",
    ],
    "Not a stream: each of its requests to the service has RPC_TIMEOUT_SEC.": [
        "bridge/pool/service_link.py: await self.account.read(self.request, reload=reload)",
    ],
    "Its only caller waits within a deadline: a connection to Redis, a fetched image, a start, a pace.": [
        "gateway_project/lib/redis_link.py: await loop.create_unix_connection(lambda: pipe, target.path)",
        "gateway_project/lib/redis_link.py: await asyncio.to_thread(target.tls.context)",
        "gateway_project/lib/redis_link.py: "
        "await loop.create_connection(lambda: pipe, target.host, target.port, ssl=secure)",
        "bridge/images/fetch.py: "
        "await asyncio.open_connection(address, target.port, ssl=trusted, server_hostname=name)",
        "bridge/images/fetch.py: await reader.read(CHUNK)",
        "bridge/bounds/patience.py: await receive()",
        "bridge/bounds/patience.py: await asyncio.Event().wait()",
        "gateway_project/supervise/supervisor.py: await asyncio.open_connection(wildcard.get(host, host), port)",
        "gateway_project/supervise/supervisor.py: await reader.readline()",
    ],
    "What it calls has a deadline inside: Fetcher.get, the store's link.": [
        "accounts/ledger/ledger.py: await self._waiter.wait()",
        "accounts/limits/breaker.py: await reply",
        "bridge/http/chat.py: await self._opening.wait()",
        "bridge/images/pipeline.py: await self._fetcher.get(source, key)",
        "bridge/http/responses.py: await self.runtime.responses.read(caller.key_id, wanted)",
    ],
    "The turn's silence is bounded: the ticker fails one that the service leaves silent, and that ends the wait.": [
        "bridge/turn/attempt.py: await stream.drain()",
        "bridge/turn/attempt.py: await changed",
        "bridge/lingma/stream.py: await ready",
        "bridge/siblings/lender.py: await turn.drain()",
        "bridge/siblings/link.py: await self._room.wait()",
    ],
    "The client is looked after: who does not take its answer, or stops sending, is cut (http_deadlines).": [
        "gateway_project/server/pages.py: await asyncio.wait({gone})",
        "gateway_project/server/pages.py: await receive()",
        "bridge/turn/attempt.py: await sending",
        "bridge/turn/output.py: await sending",
        "bridge/http/body.py: await receive()",
        "bridge/http/hang_up.py: await work",
        "bridge/http/hang_up.py: await self.receive()",
        "gateway_project/asgi.py: await receive()",
        "gateway_project/server/cycle.py: await waiting",
    ],
    "Work of bounded size on this processor, or a name that is looked up, for which its caller has a deadline.": [
        "gateway_project/lib/fair_line.py: await place",
        "gateway_project/lib/fair_line.py: await asyncio.shield(running)",
    ],
    "Work of bounded size on this processor, or a look at files of this host in /proc and beside a socket.": [
        "bridge/lingma/process/process.py: await asyncio.to_thread(ports.holder_of, self.port, self.pid, also)",
        "bridge/pool/upstream.py: await asyncio.to_thread(self.endpoint.identity)",
    ],
    "It waits for changes as long as the process lives; nothing and nobody waits for it.": [
        "bridge/telemetry/refusals.py: await self._noted.wait()",
        "bridge/siblings/siblings.py: await asyncio.wait({borrower.link.lost})",
        "gateway_project/supervise/child.py: await process.wait()",
        "gateway_project/supervise/output.py: await source.read(LONGEST_LINE)",
        "gateway_project/supervise/output.py: self._lines.get()",
        "gateway_project/supervise/supervisor.py: await self._stop.wait()",
    ],
    "The end of a process: what was cancelled ends at once, and the supervisor kills who takes too long.": [
        "gateway_project/lib/redis_link.py: await asyncio.wait({self._dialling})",
        "bridge/turn/engine.py: await asyncio.wait(self._tasks)",
        "bridge/pool/members.py: await asyncio.wait(set(self._runs.values()))",
        "bridge/pool/members.py: await asyncio.wait({self._runs[instance]})",
        "bridge/pool/pool.py: await asyncio.wait({self._replacing})",
        "bridge/pool/replacements.py: await asyncio.wait({running})",
        "bridge/runtime.py: await asyncio.wait(self._background)",
        "bridge/siblings/siblings.py: await self._returned.wait()",
        "bridge/runtime.py: await self.link.close()",
        "bridge/runtime.py: await self.bulk.close()",
    ],
    "A start, whose steps have deadlines, or the signal to stop; each child's stop has its grace.": [
        "bridge/lingma/install/vsix.py: fcntl.flock(lock, fcntl.LOCK_EX)",
        "gateway_project/supervise/supervisor.py: "
        "await asyncio.wait({start, stop}, return_when=asyncio.FIRST_COMPLETED)",
        "gateway_project/supervise/supervisor.py: await start",
        "gateway_project/supervise/supervisor.py: await asyncio.gather(*(child.stop() for child in group))",
    ],
    "No wait: turns are given back, which only wakes those that wait for them.": [
        "gateway_project/server/pages.py: await turns.aclose()",
    ],
    "A turn for a page, which comes within WAIT_SEC or never.": [
        "gateway_project/server/pages.py: await asyncio.wait({entering, gone}, return_when=asyncio.FIRST_COMPLETED)",
        "gateway_project/server/pages.py: await asyncio.wait({entering})",
    ],
}

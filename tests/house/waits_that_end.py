"""The waits without a deadline of their own, by the reason why each ends."""

WAITS = {
    "A lock that is held for work in memory only; no I/O and no other lock inside.": [
        "accounts/disk.py fails: _lock",
        "accounts/disk.py works: _lock",
        "accounts/unwritten.py Unwritten.keep: self._lock",
        "accounts/unwritten.py Unwritten.take: self._lock",
        "accounts/unwritten.py Unwritten._try_again: self._lock",
        "accounts/unwritten.py Unwritten._write_some: self._lock",
        "bridge/metric_values.py count_cheaply.Value.inc: lock",
        "gateway_project/postgresql/kept.py KeptConnections.close: self._lock",
        "gateway_project/postgresql/kept.py KeptConnections._keep: self._lock",
        "gateway_project/postgresql/kept.py KeptConnections._kept: self._lock",
    ],
    "Not a lock but an open file; it was locked with LOCK_NB.": [
        "gateway_project/supervise/ground.py own_data_dir: lock",
    ],
    "The result of a future that is done.": [
        "accounts/query_thread.py QueryThread.run: running.result()",
        "accounts/usage.py Ledger.backlog: self._counting.result()",
        "bridge/answer.py Answer._deliver: work.result()",
        "bridge/engine.py _Run._wait_in_line: waiter.lease.result()",
        "bridge/http/views.py _rendered: running.result()",
        "bridge/lingma/connection.py _asked: done.result()",
        "bridge/lingma/uploads.py _answered: done.result()",
        "bridge/pool/instance.py Instance._what_happened: self._connection.lost.result()",
        "bridge/pool/pool.py Waiter.leave: self.lease.result()",
        "bridge/pool/upstream.py Upstream.exit_code: exited.result()",
        "bridge/pool/upstream.py Upstream._dial_program: process.exited.result()",
        "gateway_project/postgresql/bounded.py _close_late: made.result()",
    ],
    "Who does the work has a deadline (GIVE_UP_SEC of a query, WITHIN_SEC of a smoke test) and answers in any case.": [
        "accounts/key_reader.py KeyReader.read: await answer",
        "accounts/keys.py KeyRing._read: await asyncio.shield(reading)",
        "accounts/keys_in_use.py KeysInUse.look: "
        "await asyncio.gather(*[self._look_at(digest) for digest in self._holders])",
        "bridge/smoke.py smoke: await asyncio.gather(*[_ask(engine, instance) for instance in engine.pool.instances])",
    ],
    "Its only caller waits within a deadline: a connection to Redis, a fetched image, a start, a pace.": [
        "accounts/redis_link.py RedisLink._open: await loop.create_unix_connection(lambda: pipe, target.path)",
        "accounts/redis_link.py RedisLink._open: await asyncio.to_thread(target.tls.context)",
        "accounts/redis_link.py RedisLink._open: "
        "await loop.create_connection(lambda: pipe, target.host, target.port, ssl=secure)",
        "bridge/images/fetch.py resolve: await loop.run_in_executor(_resolvers, "
        "lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))",
        "bridge/images/fetch.py Fetcher._connect: "
        "await asyncio.open_connection(address, target.port, ssl=trusted, server_hostname=name)",
        "bridge/images/fetch.py _next: await reader.read(CHUNK)",
        "bridge/patience.py _gone: await receive()",
        "bridge/patience.py _gone: await asyncio.Event().wait()",
        "gateway_project/supervise/supervisor.py Supervisor._status: "
        "await asyncio.open_connection(wildcard.get(host, host), port)",
        "gateway_project/supervise/supervisor.py Supervisor._status: await reader.readline()",
    ],
    "What it calls has a deadline inside: Fetcher.get, the store's link.": [
        "bridge/images/desk.py ImageDesk._fetched: await self._fetcher.get(source)",
        "bridge/http/responses.py _fetch: await consumer.runtime.responses.read(caller.key_id, wanted)",
    ],
    "The turn's silence is bounded: the pulse fails one that the service leaves silent, and that ends the wait.": [
        "bridge/answer.py Answer._follow: await turn.drain()",
        "bridge/lingma/turn.py Turn.drain: await self._waiter",
    ],
    "The client is looked after: who does not take its answer, or stops sending, is cut (http_deadlines).": [
        "bridge/answer.py Answer._follow: await told",
        "bridge/teller.py Teller.tell: await told",
        "bridge/http/body.py read_body: await receive()",
        "bridge/http/body.py _read_rest: await receive()",
        "bridge/http/streaming.py HttpConsumer.until_hang_up: await work",
        "bridge/http/streaming.py HttpConsumer._cancel_on_hang_up: await self.receive()",
        "gateway_project/asgi.py no_websocket: await receive()",
    ],
    "Work of bounded size on this processor, or a look at files of this host in /proc and beside a socket.": [
        "bridge/images/desk.py ImageDesk._image: "
        "await loop.run_in_executor(self._worker, self._prepared, source, fetched, pixels_left)",
        "bridge/lingma/process.py Process.holder: await asyncio.to_thread(ports.holder_of, self.port, self.pid, also)",
        "bridge/load.py BodyLoad.turn_of_large: await self._large.acquire()",
        "bridge/pool/upstream.py Upstream.identity: await asyncio.to_thread(self.endpoint.identity)",
    ],
    "It waits for news as long as the process lives; nothing and nobody waits for it.": [
        "bridge/refusals.py Refusals.follow: await self._noted.wait()",
        "gateway_project/asgi.py lifespan: await receive()",
        "gateway_project/supervise/child.py Child._run_once: await process.wait()",
        "gateway_project/supervise/console.py Console.copy: await source.read(LONGEST_LINE)",
        "gateway_project/supervise/console.py Console._gathered: self._lines.get()",
        "gateway_project/supervise/supervisor.py Supervisor.run: await self._stop.wait()",
    ],
    "The end of a process: what was cancelled ends at once, and the supervisor kills who takes too long.": [
        "accounts/redis_link.py RedisLink.close: await asyncio.wait({self._dialling})",
        "bridge/engine.py Engine.settle: await asyncio.wait(self._tasks)",
        "bridge/pool/pool.py Pool.stop: await asyncio.wait(self._runs)",
        "bridge/runtime.py Runtime.stop: await asyncio.wait(self._background)",
        "bridge/runtime.py Runtime.stop: await self.link.close()",
        "bridge/runtime.py Runtime.stop: await self.bulk.close()",
    ],
    "A start, whose steps have deadlines, or the signal to stop; each child's stop has its grace.": [
        "bridge/lingma/vsix.py _alone: fcntl.flock(lock, fcntl.LOCK_EX)",
        "gateway_project/supervise/supervisor.py Supervisor._until_stopped: "
        "await asyncio.wait({start, stop}, return_when=asyncio.FIRST_COMPLETED)",
        "gateway_project/supervise/supervisor.py Supervisor._until_stopped: await start",
        "gateway_project/supervise/supervisor.py Supervisor._shut_down: "
        "await asyncio.gather(*(child.stop() for child in group))",
    ],
}

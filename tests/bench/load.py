"""The load client, a process of its own: keep-alive HTTP/1.1 on bare protocols, answers scanned for time stamps.

Reads one JSON object and prints one JSON line. Every answer is checked: status, number of chunks, `[DONE]`.
"""

import asyncio
import functools
import gc
import itertools
import json
import os
import sys
import time

import uvloop

from tests.bench.agents import history, images, tools
from tests.bench.cases import Case
from tests.bench.chunks import MARK, StampReader, question
from tests.bench.processes import forget_peak, memory, peak_bytes, snapshot

SYSTEM = "You are a helpful assistant. Answer briefly and to the point, in the language of the question."
BODY_END = b"\r\n0\r\n\r\n"
LONGEST_WAIT = 100.0  # s for a number of requests
DRAIN = 4.0  # s that answers may still take when the window is over


def percentiles(values):
    """p50 and p99 in ms of values in ns."""
    values = sorted(values)
    if not values:
        return None
    return [round(values[min(len(values) - 1, int(len(values) * q))] / 1e6, 3) for q in (0.5, 0.99)]


def request_bytes(case, key):
    """The request that every client of a case sends."""
    text = f"Please answer this: {question(case.chunks, case.interval_ms)}. Thank you."
    content = [*images(case.images), {"type": "text", "text": text}] if case.images else text
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": content}]
    messages[1:1] = (
        [{"role": "user", "content": "Mend the tests."}, *history(case.history_kb)] if case.history_kb else []
    )
    order = {"model": case.model, "messages": messages, "stream": case.streamed}
    body = json.dumps(order | ({"tools": tools(case.tools)} if case.tools else {})).encode()
    head = (
        f"POST {case.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\nAccept: */*\r\n"
        f"User-Agent: bench/1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Load:
    """What the clients share: the counts, the times, whether to go on."""

    def __init__(self, case, keys):
        self.case = case
        body = request_bytes(case, keys[0])
        self.requests_to_send = itertools.cycle([body.replace(keys[0].encode(), key.encode(), 1) for key in keys])
        self.counting = False
        self.stopping = False
        self.busy = 0
        self.idle = asyncio.Event()
        self.requests = self.chunks = 0
        self.first, self.delays = [], []
        self.faults = {}

    async def reached(self, requests):
        """So many have ended; or it took too long."""
        deadline = time.monotonic() + LONGEST_WAIT
        while self.requests < requests and time.monotonic() < deadline:
            await asyncio.sleep(0.02)

    def fault(self, what):
        self.faults[what] = self.faults.get(what, 0) + 1


class Client(asyncio.Protocol):
    """One connection that asks until told to stop."""

    def __init__(self, load):
        self.load = load
        self.timed = load.case.timed
        self.waiting = False

    def connection_made(self, transport):
        self.transport = transport

    def ask(self):
        load = self.load
        if load.stopping:
            return
        load.busy += 1
        self.waiting = True
        self.head = b""
        self.in_body = False
        self.tail = b""
        self.chunks = 0
        self.stamps = StampReader()
        self.sent_at = time.monotonic_ns()
        self.transport.write(next(load.requests_to_send))

    def data_received(self, data):
        now = time.monotonic_ns()
        if not self.in_body:
            self.head += data
            head, found, data = self.head.partition(b"\r\n\r\n")
            if not found:
                return
            self.in_body = True
            self.left = self.length(head)
        if self.load.case.streamed:
            self.scan(data, now)
            self.tail = (self.tail + data)[-80:] if len(data) < 80 else data[-80:]
            if self.tail.endswith(BODY_END):
                self.ended(b"[DONE]" in self.tail)
        else:
            self.chunks += data.count(MARK)
            self.left -= len(data)
            if self.left <= 0:
                self.ended(True)

    def length(self, head):
        """Bytes of the body, when the head says it. Anything but a 200 is a fault."""
        if not head.startswith(b"HTTP/1.1 200"):
            self.load.fault("status " + head[9:12].decode(errors="replace"))
        _, found, rest = head.lower().partition(b"content-length:")
        if found and self.load.case.streamed:
            self.load.fault("not streamed")
            self.transport.close()
        return int(rest.partition(b"\r\n")[0]) if found else 0

    def scan(self, data, now):
        load = self.load
        if self.timed:
            stamps = self.stamps.feed(data)
            count = len(stamps)
            if load.counting:
                load.delays += [now - stamp for stamp in stamps]
        else:
            count = data.count(MARK)
        if count and not self.chunks and load.counting:
            load.first.append(now - self.sent_at)
        self.chunks += count
        load.chunks += count

    def ended(self, complete):
        load = self.load
        if self.chunks != load.case.chunks:
            load.fault("chunks missing" if self.chunks < load.case.chunks else "chunks too many")
        if not complete:
            load.fault("no [DONE]")
        load.requests += 1
        if not load.case.streamed:
            load.chunks += self.chunks
        self.freed()
        self.ask()

    def freed(self):
        self.waiting = False
        self.load.busy -= 1
        if not self.load.busy:
            self.load.idle.set()

    def connection_lost(self, exc):
        if self.waiting:
            self.load.fault("connection lost")
            self.freed()


async def run(case, port, keys, watch):
    """Figures of one case against the port. `watch`: pids whose CPU and memory count."""
    loop = asyncio.get_running_loop()
    load = Load(case, keys)
    for pid in watch:
        forget_peak(pid)
    at_rest = {pid: memory(pid) for pid in watch}
    make = functools.partial(loop.create_connection, lambda: Client(load), "127.0.0.1", port)
    clients = [(await make())[1] for _ in range(case.clients)]
    began = loop.time() + 0.05
    for number, client in enumerate(clients):
        loop.call_at(began + case.spread * number / case.clients, client.ask)
    await asyncio.sleep(began + case.warm - loop.time())
    await load.reached(case.warm_requests)
    before, requests, chunks = snapshot(watch), load.requests, load.chunks
    load.counting = True
    await asyncio.sleep(case.window)
    await load.reached(requests + case.least)
    after, requests, chunks = snapshot(watch), load.requests - requests, load.chunks - chunks
    load.counting = False
    load.stopping = True
    loaded, open_streams = {pid: memory(pid) for pid in watch}, load.busy
    unfinished = await drain(load)
    for client in clients:
        client.transport.abort()
    return figures(load, before, after) | {
        "requests": requests,
        "chunks": chunks,
        "all_requests": load.requests,
        "at_rest": at_rest,
        "loaded": loaded,
        "peak": {pid: peak_bytes(pid) for pid in watch},
        "open_streams": open_streams,
        "unfinished": unfinished,
    }


async def drain(load):
    """Let the answers end that are under way. How many did not in time."""
    if load.busy:
        load.idle.clear()
        longest = load.case.chunks * load.case.interval_ms / 1000
        try:
            await asyncio.wait_for(load.idle.wait(), longest + DRAIN)
        except TimeoutError:
            return load.busy
    return 0


def figures(load, before, after):
    """What two snapshots and the counts between them say."""
    seconds = after["at"] - before["at"]
    cpu = {pid: round(spent - before["cpu"][pid], 4) for pid, spent in after["cpu"].items()}
    return {
        "seconds": round(seconds, 3),
        "cpu": cpu,
        "foreign": max(0.0, round((after["busy"] - before["busy"] - sum(cpu.values())) / seconds, 2)),
        "stolen": round((after["stolen"] - before["stolen"]) / seconds, 2),
        "first_ms": percentiles(load.first),
        "delay_ms": percentiles(load.delays),
        "faults": load.faults,
    }


def main():
    order = json.load(sys.stdin)
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    watch = [*order["watch"], os.getpid()]
    case = Case(**order["case"])
    result = uvloop.run(run(case, order["port"], order["keys"], watch))
    print(json.dumps(result | {"load_pid": os.getpid()}), flush=True)


if __name__ == "__main__":
    main()

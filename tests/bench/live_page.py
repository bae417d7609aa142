"""What the live page costs: `python -m tests.bench.live_page`. CPU of the process that somebody watches, at 1 Hz.

Four processes with 25 instances each, of which this is one and the others report through a real Redis; each has the
turns that fit into a report. Eight watch.
"""

import asyncio
import os
import tempfile
import time
from pathlib import Path

from bridge.fleet.live_reports import EXCHANGE, LiveReports
from bridge.fleet.live_view import encode, live_view
from bridge.pool.options import InstanceOptions, InstanceSpec, PoolOptions
from bridge.pool.pool import Pool
from bridge.status.live import MOST_TURNS, LiveTurn
from bridge.telemetry.running import RunningTurns
from gateway_project.lib.redis import redis_keys
from gateway_project.lib.redis.redis_link import RedisLink
from tests.bridge.lingma.service import DIALECT
from tests.environment import start_redis

PROCESSES, INSTANCES, TURNS, WATCHERS, ROUNDS, PASSES = 4, 25, 125, 8, 50, 5


class Turn:
    """One of many that run."""

    def __init__(self, number):
        self.number = number

    def live(self):
        name = f"w1-i{self.number % INSTANCES}" if self.number % 5 else ""
        return LiveTurn(f"req_{self.number:032x}", self.number % 9, "a key", "qwen", "codex", time.time(), name, 812)


def reports_of(link, directory, number):
    spec = InstanceSpec("simulator", DIALECT, ("true",), (), directory)
    running = RunningTurns()
    for each in range(TURNS):
        running.add(Turn(each))
    pool = Pool([spec] * INSTANCES, number, PoolOptions(), InstanceOptions())
    for each in pool.instances:
        each.incidents.last_error = f"the program exited with code 1, https://user:secret{number}@example.com/ refused"
    return LiveReports(link, pool, running, (f"web-{number}", number, f"run{number}"), lambda: 0), pool


async def seconds_of_cpu(url, directory):
    """A snapshot's, the best of PASSES; and how long its text is."""
    link = RedisLink(url)
    first, *others = [reports_of(link, directory, number) for number in range(1, PROCESSES + 1)]
    best = float("inf")
    for _ in range(PASSES):
        for each, _ in others:
            args = [each._run, encode(each.report()), ""]
            await link.run(EXCHANGE, [redis_keys.LIVE, redis_keys.WATCHED], args)
        began = time.process_time()
        for _ in range(ROUNDS):
            reports = await first[0].look()
            text = encode(live_view(reports, first[1].all_statuses(), [], time.time())).decode()
            for _ in range(WATCHERS):
                text.encode()  # as each socket does
        best = min(best, (time.process_time() - began) / ROUNDS)
    assert text.count('"restarts"') == PROCESSES * INSTANCES
    assert text.count('"req_') == min(100, PROCESSES * MOST_TURNS)
    await link.close()
    return best, len(text)


def main():
    with tempfile.TemporaryDirectory(prefix="lgw-live-") as directory:
        server = start_redis(Path(directory))
        try:
            seconds, size = asyncio.run(seconds_of_cpu(f"unix://{directory}/redis.sock", Path(directory)))
        finally:
            server.terminate()
            server.wait()
    print(f"Live page, {PROCESSES * INSTANCES} instances at 1 Hz, {WATCHERS} watch: {seconds * 1000:.1f} ms a second, "
          f"{seconds:.1%} of a core (asked: below 5 %), {size >> 10} KiB a snapshot")  # fmt: skip


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway_project.settings")
    main()

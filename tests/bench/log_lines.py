"""What the line of a turn costs in the log: `python -m tests.bench.log_lines`. CPU, paced as turns come."""

import gc
import logging
import logging.handlers
import os
import queue
import sys
import time

from accounts.ledger.row import UsageRow
from bridge.telemetry import turn_log
from gateway_project.log_formatters import TextFormatter
from gateway_project.log_handler import QueuedHandler

LINES = 2000
PAUSE_SEC = 0.0005
ROUNDS = 5


def row(number):
    return UsageRow(
        request_id=f"req_{number:032x}", api_key_id=1, protocol="openai", endpoint="/v1/chat/completions",
        model="gpt-5",
        lingma_model="org_auto", instance="w1-i1", session="reused", stream=True, status="ok", reason="stop",
        queue_ms=1, first_token_ms=212, total_ms=number, prompt_tokens=1500, completion_tokens=number,
        usage_source="upstream", agent="codex", started_at=time.time(), client="10.0.0.1",
    )  # fmt: skip


def plain_record(row, hint):
    """As any logger would be told."""
    turn_log.log.info("turn", extra={"fields": turn_log._fields(row, hint)})


class Library:
    """The library's queue and listener, with our formatter."""

    def __init__(self):
        records = queue.SimpleQueue()
        target = logging.StreamHandler()
        target.setFormatter(TextFormatter())
        self.listener = logging.handlers.QueueListener(records, target)
        self.listener.start()
        self.handler = logging.handlers.QueueHandler(records)

    def close(self):
        self.listener.stop()


class Ours:
    def __init__(self):
        self.handler = QueuedHandler()
        self.handler.setFormatter(TextFormatter())

    def close(self):
        self.handler.close()


class Nothing:
    """What the pauses cost."""

    def __init__(self):
        self.handler = logging.NullHandler()

    def close(self):
        pass


WAYS = {
    "nothing": (Nothing, lambda row, hint: None),
    "our queue, our record": (Ours, turn_log.turn_line),
    "our queue, the library's record": (Ours, plain_record),
    "the library's queue and record": (Library, plain_record),
}


def cost(way):
    """Microseconds of CPU a line: in the thread that logs, and of the whole process."""
    queue_of, tell = WAYS[way]
    root = logging.getLogger()
    through = queue_of()
    root.handlers, root.level = [through.handler], logging.INFO
    rows = [row(number) for number in range(LINES)]
    gc.collect()
    here, cpu = 0, time.process_time_ns()
    for each in rows:
        begin = time.thread_time_ns()
        tell(each, "lgw_Ab3dEf7h")
        here += time.thread_time_ns() - begin
        time.sleep(PAUSE_SEC)
    through.close()
    return here / LINES / 1000, (time.process_time_ns() - cpu) / LINES / 1000


def main():
    said = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    best = {way: [1e9, 1e9] for way in WAYS}
    for _ in range(ROUNDS):
        for way in WAYS:
            best[way] = [min(pair) for pair in zip(best[way], cost(way), strict=True)]
    for way, (here, whole) in best.items():
        idle, pauses = best["nothing"]
        said.write(f"{way:32} {here - idle:6.1f} µs where it is logged, {whole - pauses:6.1f} µs in all\n")


if __name__ == "__main__":
    main()

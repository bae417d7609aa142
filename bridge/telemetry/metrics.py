"""What Prometheus sees. A leaf that every room may count in; OpenTelemetry's GenAI names where they exist.

Several processes count in files below `PROMETHEUS_MULTIPROC_DIR` and any of them renders the sum. That directory must
be set, and emptied, before the first process starts; without it each process shows its own figures.
"""

from __future__ import annotations

import os
from collections import Counter as TallyCounter
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Final, TypeVar

from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from accounts.ledger.row import UsageRow
from bridge.status.states import OWN_STATES
from bridge.telemetry.rates import RATES
from gateway_project.lib.prometheus_values import BulkHistogram, drop_stale_gauges, files

# A time stamp per series makes the page twice as long, and nobody reads them.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the library leaves it bare

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

# Models come from the service, so they are few; should it ever invent names, the rest is counted together.
MOST_MODELS: Final = 64

_OTEL = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_response_model")

# The buckets of the four are those of the convention.
REQUEST_DURATION = BulkHistogram(
    "gen_ai_server_request_duration_seconds",
    "Time from the request to the last byte of its answer.",
    (*_OTEL, "error_type"),
    buckets=(0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92),
)
TIME_TO_FIRST_TOKEN = BulkHistogram(
    "gen_ai_server_time_to_first_token_seconds",
    "Time from the request to the first text of the answer.",
    _OTEL,
    buckets=(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
)
TIME_PER_OUTPUT_TOKEN = BulkHistogram(
    "gen_ai_server_time_per_output_token_seconds",
    "Time per token after the first one, of answers that ended well.",
    _OTEL,
    buckets=(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5),
)
TOKEN_USAGE = BulkHistogram(
    "gen_ai_client_token_usage",
    "Tokens of one turn. source: counted by the service (upstream) or by us (estimate; partial if it broke off).",
    (*_OTEL, "gen_ai_token_type", "source"),
    buckets=tuple(4**power for power in range(14)),
)

REQUESTS = Counter(
    "lingma_gateway_requests_total",
    "Turns by how they ended, and requests refused before. reason: the finish reason, the kind of error, or the limit.",
    ("protocol", "endpoint", "model", "status", "reason"),
)
REJECTED = Counter(
    "lingma_gateway_rejected_total",
    "Requests refused before a key was known. reason: the kind of error, or what was wrong with the key.",
    ("endpoint", "reason"),
)
SESSIONS = Counter("lingma_gateway_sessions_total", "Turns by what became of their upstream session.", ("outcome",))
QUEUE_TIME = BulkHistogram(
    "lingma_gateway_queue_time_seconds",
    "How long turns waited for an instance.",
    buckets=(0.001, 0.005, 0.02, 0.1, 0.5, 1, 2, 5, 10, 20, 30, 60),
)
TOOL_CALLS = Counter(
    "lingma_gateway_tool_calls_total",
    "Calls of clients' tools by what became of them: parsed, repaired, refused, retried, invalid; "
    "unjudged are those whose schema takes too long to judge by; reply_* are replies that must be JSON.",
    ("outcome", "model", "client"),
)
HANDED_OVER = Counter(
    "lingma_gateway_handed_over_total",
    "Turns handed over to the web process that holds their session: taken, declined, or lost on the way.",
    ("outcome",),
)
RETRIES = Counter("lingma_gateway_retries_total", "Turns asked again because they were lost before anything was told.")
CRASHES = Counter(
    "lingma_gateway_crashing_prompts_total",
    "Prompts that the service exited over: suspected (it was answering them), proven, and refused since.",
    ("what",),
)
SLOW_CLIENTS = Counter("lingma_gateway_slow_clients_total", "Streams cut because the client read too slowly.")

LATE_USAGE = Counter(
    "lingma_gateway_late_usage_total",
    "Turns that ended before the service had logged their tokens. outcome: amended (it did within a minute), missing, "
    "dropped (too many waited).",
    ("outcome",),
)

IN_FLIGHT = Gauge("lingma_gateway_in_flight", "Turns that hold an instance.", multiprocess_mode="livesum")
QUEUE_LENGTH = Gauge("lingma_gateway_queue_length", "Turns that wait for an instance.", multiprocess_mode="livesum")
INSTANCE_STATE = Gauge(
    "lingma_gateway_instance_state",
    "1 for the state an instance is in.",
    ("instance", "state"),
    multiprocess_mode="livemax",
)
INSTANCE_MEMORY = Gauge(
    "lingma_gateway_instance_memory_bytes",
    "Resident memory of the processes of an instance.",
    ("instance",),
    multiprocess_mode="livemostrecent",
)
INSTANCE_DISK = Gauge(
    "lingma_gateway_instance_disk_bytes",
    "What the work directory of an instance takes on its disk.",
    ("instance",),
    multiprocess_mode="livemostrecent",
)
STUCK_TURNS = Gauge(
    "lingma_gateway_stuck_turns",
    "Turns of an instance of which nothing has come for STUCK_TURN_SEC.",
    ("instance",),
    multiprocess_mode="livemostrecent",
)
INSTANCE_RESTARTS = Counter("lingma_gateway_instance_restarts_total", "Times an instance was restarted.", ("instance",))
INSTANCE_RECONNECTS = Counter(
    "lingma_gateway_instance_reconnects_total", "Connections to a running instance that were lost.", ("instance",)
)
INSTANCE_PAUSES = Counter(
    "lingma_gateway_instance_pauses_total", "Pauses of an instance that refused or failed turns.", ("instance",)
)
REPLACEMENTS = Counter(
    "lingma_gateway_replacements_total",
    "Successors that were started to take the place of an instance. outcome: done, failed.",
    ("instance", "outcome"),
)
ACKS_LATE = Counter(
    "lingma_gateway_acks_late_total", "Requests of the service that were not acknowledged at once.", ("instance",)
)
UNKNOWN_PUSHES = Counter(
    "lingma_gateway_unknown_pushes_total", "Messages of the service that nobody here understands.", ("instance",)
)
IMAGE_FAILURES = Counter(
    "lingma_gateway_image_failures_total",
    "Images that did not reach the service. reason: invalid or fetch (refused), surplus, upload or timeout (left out).",
    ("reason",),
)
UNROUTED_TOOL_EVENTS = Counter(
    "lingma_gateway_unrouted_tool_events_total", "Events about tools of the service that fit no turn.", ("instance",)
)
TOOL_DECISIONS = Counter(
    "lingma_gateway_tool_decisions_total", "What tools of the service were told: allowed or denied.", ("decision",)
)
LEDGER_BACKLOG = Gauge(
    "lingma_gateway_ledger_backlog",
    "Usage rows, and beginnings of turns, not yet in the database.",
    multiprocess_mode="livemostrecent",
)
CONTENTS_DROPPED = Counter(
    "lingma_gateway_contents_dropped_total",
    "Contents of keys with content logging that could not be kept; their usage rows are there. reason: full (the worker"
    " is away or slow), busy (this process has too many), redis, failed.",
    ("reason",),
)
REDIS_AVAILABLE = Gauge(
    "lingma_gateway_redis_available", "1 while every process reaches Redis.", multiprocess_mode="livemin"
)
ALERTS = Gauge("lingma_gateway_alerts", "Alerts that are open.", ("kind",), multiprocess_mode="livemostrecent")
DEGRADED = Gauge(
    "lingma_gateway_degraded",
    "1 while a part is away. mode: the part; docs/production.md says what still works.",
    ("mode",),
    multiprocess_mode="livemax",
)

# Turns that may be noted and not yet counted.
MOST_NOTED: Final = 1000

Observe = Callable[[list[float]], None]
Finished = tuple[UsageRow, int]
"""A turn, and when all that could refuse it was passed, in ms since the request: a client may take long to ask."""
Noted = TypeVar("Noted")


def turn_finished(turn: UsageRow, admitted_ms: int) -> None:
    """Note a turn, however it ended. It is counted with others by `count_turns`, for a fraction of the price."""
    _finished.append((turn, admitted_ms))
    if len(_finished) >= MOST_NOTED:
        count_turns()


def count_turns() -> None:
    """Count the turns noted since the last call; call it every few seconds. Renders show what has been counted."""
    alike: defaultdict[tuple[str, ...], list[Finished]] = defaultdict(list)
    for turn, admitted_ms in _taken(_finished):
        key = (
            turn.protocol, turn.endpoint, turn.lingma_model, turn.status, turn.reason, turn.session, turn.usage_source
        )  # fmt: skip
        alike[key].append((turn, admitted_ms))
    # By groups: most turns of a few seconds have all labels in common, and each write goes into a mapped file.
    for (protocol, endpoint, model, status, reason, session, source), finished in alike.items():
        group = [turn for turn, _ in finished]
        _requests(protocol, endpoint, model, status, reason)(len(group))
        # Refused turns too: they are requests that were answered.
        _duration(model, "" if status == "ok" else reason)([turn.total_ms / 1000 for turn in group])
        if status != "refused":
            _sessions(session)(len(group))
            _observe(finished, model, source, ok=status == "ok")
            _rate(group, failed=status == "error")
    _count_tools()


def _taken(noted: deque[Noted]) -> list[Noted]:
    """All of them. A render in a thread may add or take at the same time; each is taken once: `popleft` is atomic."""
    taken: list[Noted] = []
    # The length is taken once, so that this ends; the other one may have been faster.
    with suppress(IndexError):
        for _ in range(len(noted)):
            taken.append(noted.popleft())  # noqa: PERF401 - what came before the error is kept
    return taken


def _rate(turns: list[UsageRow], *, failed: bool) -> None:
    first = [turn.first_token_ms for turn in turns if turn.first_token_ms is not None]
    tokens = sum(turn.completion_tokens for turn in turns)
    RATES.count(len(turns), len(turns) if failed else 0, tokens, len(first), sum(first))


def _observe(finished: list[Finished], model: str, source: str, *, ok: bool) -> None:
    """Times and tokens of turns with the same labels."""
    turns = [turn for turn, _ in finished]
    QUEUE_TIME.observe_all([turn.queue_ms / 1000 for turn in turns])
    if begun := [(turn, ms, turn.first_token_ms) for turn, ms in finished if turn.first_token_ms is not None]:
        first_token, per_token = _speed(model)
        first_token([first_ms / 1000 for _, _, first_ms in begun])
        if ok:
            # The first token is left out, as its time is that of the prompt. It is timed from the admission on, and
            # the whole from the request on.
            per_token(
                [
                    max(turn.total_ms - admitted_ms - first_ms, 0) / (1000 * (turn.completion_tokens - 1))
                    for turn, admitted_ms, first_ms in begun
                    if turn.completion_tokens > 1
                ]
            )
    if counted := [turn for turn in turns if turn.prompt_tokens or turn.completion_tokens]:
        input_tokens, output_tokens = _tokens(model, source)
        input_tokens([turn.prompt_tokens for turn in counted])
        output_tokens([turn.completion_tokens for turn in counted])


def refused(row: UsageRow) -> None:
    """Count a request that never became a turn."""
    if row.api_key_id:
        # Without the model: the client chose that name, and labels must be few.
        _requests(row.protocol, row.endpoint, "", row.status, row.reason)(1)
    else:
        _rejected(row.endpoint, row.reason)(1)


def content_dropped(reason: str) -> None:
    """Count a content that is not kept."""
    CONTENTS_DROPPED.labels(reason).inc()


def tools_counted(outcomes: Mapping[str, int], model: str, client_app: str) -> None:
    """Note what became of a turn's calls; `client_app` is a family of programs. Counted by `count_turns`."""
    _called.append((outcomes, model, client_app))
    if len(_called) >= MOST_NOTED:
        _count_tools()


def _count_tools() -> None:
    called: TallyCounter[tuple[str, str, str]] = TallyCounter()
    for outcomes, model, client_app in _taken(_called):
        for outcome, times in outcomes.items():
            called[outcome, model, client_app] += times
    for labels, times in called.items():
        _tool_calls(*labels)(times)


def instance_changed(name: str, state: str) -> None:
    """Show the state an instance is in now."""
    for each in OWN_STATES:
        INSTANCE_STATE.labels(name, each).set(each == state)


def instance_gone(name: str) -> None:
    """It was taken away: its gauges are 0, as series cannot be deleted."""
    instance_changed(name, "")
    instance_measured(name, 0, 0, 0)


def instance_measured(name: str, memory: int | None, disk: int | None, stuck: int) -> None:
    """Show what an instance takes, and which of its turns stand still. What is not known is left out."""
    if memory is not None:
        INSTANCE_MEMORY.labels(name).set(memory)
    if disk is not None:
        INSTANCE_DISK.labels(name).set(disk)
    STUCK_TURNS.labels(name).set(stuck)


def alerts_counted(counts: Mapping[str, int]) -> None:
    """Show how many alerts are open, by kind."""
    for kind, count in counts.items():
        ALERTS.labels(kind).set(count)


def modes_changed(on: Collection[str], all_: Iterable[str]) -> None:
    """Show which degraded modes are on: `on` of `all_`."""
    for name in all_:
        DEGRADED.labels(name).set(name in on)


def render() -> bytes:
    """Everything that was counted, in Prometheus' text format, of all processes that share the directory.

    Reads a file or more per process: call it in a thread.
    """
    count_turns()
    directory = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if not directory:
        return generate_latest(REGISTRY)
    # Files of processes that have ended still hold their gauges; counters of theirs must stay in the sum.
    drop_stale_gauges(Path(directory))
    registry = CollectorRegistry()
    registry.register(_Collector(directory))
    return generate_latest(registry)


class _Collector(Collector):
    """The library's, which would leave out a file that could not be made yet."""

    def __init__(self, directory: str) -> None:
        self._directory = Path(directory)

    def collect(self) -> Iterable[Metric]:
        # The union with the files that are still to be made: their figures are in memory only.
        paths = {*map(str, self._directory.glob("*.db")), *files()}
        merged: Iterable[Metric] = MultiProcessCollector.merge(sorted(paths))  # type: ignore[no-untyped-call]  # as above
        return merged


# Finding a child by its labels costs more than counting, so children are kept. The bounds are never reached by the
# labels we give; they stand between a mistake and a leak.


@lru_cache(maxsize=4096)
def _requests(protocol: str, endpoint: str, model: str, status: str, reason: str) -> Callable[[float], None]:
    return REQUESTS.labels(protocol, endpoint, _bounded(model), status, reason).inc


@lru_cache(maxsize=256)
def _rejected(endpoint: str, reason: str) -> Callable[[float], None]:
    return REJECTED.labels(endpoint, reason).inc


@lru_cache(maxsize=1024)
def _duration(model: str, error_type: str) -> Observe:
    return REQUEST_DURATION.labels("chat", "lingma", _bounded(model), error_type).observe_all


@lru_cache(maxsize=256)
def _speed(model: str) -> tuple[Observe, Observe]:
    labels = ("chat", "lingma", _bounded(model))
    return TIME_TO_FIRST_TOKEN.labels(*labels).observe_all, TIME_PER_OUTPUT_TOKEN.labels(*labels).observe_all


@lru_cache(maxsize=256)
def _tokens(model: str, source: str) -> tuple[Observe, Observe]:
    labels = ("chat", "lingma", _bounded(model))
    return (
        TOKEN_USAGE.labels(*labels, "input", source).observe_all,
        TOKEN_USAGE.labels(*labels, "output", source).observe_all,
    )


@lru_cache(maxsize=1024)
def _tool_calls(outcome: str, model: str, client_app: str) -> Callable[[float], None]:
    return TOOL_CALLS.labels(outcome, _bounded(model), client_app).inc


@lru_cache(maxsize=16)
def _sessions(outcome: str) -> Callable[[float], None]:
    return SESSIONS.labels(outcome).inc


_finished: deque[Finished] = deque()
_called: deque[tuple[Mapping[str, int], str, str]] = deque()
_models: set[str] = set()


def _bounded(model: str) -> str:
    if model not in _models:
        if len(_models) >= MOST_MODELS:
            return "other"
        _models.add(model)
    return model

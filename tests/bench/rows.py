"""The lines of the table: a figure, of which case, and what it should be."""

from dataclasses import dataclass
from typing import Any

from tests.bench.figures import (
    all_cores,
    all_mib,
    all_per,
    behind_per_row,
    cores,
    latency,
    per_second,
    stream_kib,
    web_mib,
    web_per,
)


@dataclass(frozen=True)
class Row:
    """One line. `added`: the difference to the run without a gateway is shown and judged, and has no ratio.

    A ratio is ours to the bare proxy's. `beside` (case, figure) is what of the bare proxy it is compared with, where
    that has no such figure.
    """

    title: str
    case: str
    figure: Any
    pick: Any = min
    times: float | None = None  # at most so many times the bare proxy's
    at_most: float | None = None
    share: float | None = None  # of what arrives without a gateway
    base: str = ""  # the case whose figure of ours it may exceed
    factor: float = 1.0  # by so many times
    plus: float | None = None  # by so much, instead
    added: bool = False
    has_ratio: bool = True
    beside: tuple[str, Any] | None = None
    form: str = "{:,.0f}"
    headline: bool = False  # in the README too


REQUESTS, CHUNKS = "requests", "chunks"
PLAIN = ("plain", all_per(REQUESTS))
CHUNK = {"form": "{:.1f}"}
TIME = {"added": True, "form": "{:.2f}"}

ROWS = (
    Row("CPU µs per plain request, all processes", "plain", all_per(REQUESTS), times=0.9, headline=True),
    Row("CPU µs per streamed request, all processes", "request", all_per(REQUESTS), times=0.9, headline=True),
    Row("CPU µs per plain request, web process", "plain", web_per(REQUESTS), times=0.45),
    Row("CPU µs per streamed request, web process", "request", web_per(REQUESTS), times=0.45),
    Row("plain, key and team with limits, web process", "limited", web_per(REQUESTS), base="plain", plus=60,
        beside=PLAIN),
    Row("CPU µs of the worker per row, sums included", "plain", behind_per_row("worker"), at_most=15, beside=PLAIN,
        **CHUNK),
    Row("CPU µs of Redis per plain request", "plain", behind_per_row("redis"), beside=PLAIN, **CHUNK),
    Row("CPU µs per chunk, flood 50 × 200, all processes", "flood", all_per(CHUNKS), headline=True,
        **CHUNK),
    Row("flood, web process", "flood", web_per(CHUNKS), at_most=8, **CHUNK),
    Row("flood with 20 tools, web process", "flood_tools", web_per(CHUNKS), base="flood", factor=1.3,
        beside=("flood", web_per(CHUNKS)), **CHUNK),
    Row("CPU µs per chunk, 50 streams × 20 ms, all processes", "apart", all_per(CHUNKS), times=0.55,
        headline=True, **CHUNK),
    Row("50 streams × 20 ms, web process", "apart", web_per(CHUNKS), **CHUNK),
    Row("50 streams with 20 tools, web process", "apart_tools", web_per(CHUNKS), base="apart", factor=1.3,
        beside=("apart", web_per(CHUNKS)), **CHUNK),
    Row("CPU µs per chunk, 500 streams × 20 ms, all processes", "crowd", all_per(CHUNKS), times=0.45,
        headline=True, **CHUNK),
    Row("500 streams × 20 ms, web process", "crowd", web_per(CHUNKS), **CHUNK),
    Row("CPU µs per chunk, 1,000 streams × 20 ms, all processes", "thousand", all_per(CHUNKS),
        beside=("crowd", all_per(CHUNKS)), **CHUNK),
    Row("CPU µs per chunk, 1 stream × 5 ms, web process", "single", web_per(CHUNKS), **CHUNK),
    Row("CPU µs per agent request of 500 KB, web process", "agent", web_per(REQUESTS), at_most=15_000, beside=PLAIN),
    Row("chunks/s, 500 streams × 20 ms", "crowd", per_second(CHUNKS), max, share=0.98, headline=True),
    Row("chunks/s, 1,000 streams × 20 ms", "thousand", per_second(CHUNKS), max, share=0.98,
        beside=("crowd", per_second(CHUNKS))),
    Row("cores of the web process, 1,000 streams", "thousand", cores("web"), at_most=1, form="{:.2f}"),
    Row("added delay ms p50, 50 streams", "apart", latency("delay_ms", 0), at_most=0.5, **TIME),
    Row("added delay ms p99, 50 streams", "apart", latency("delay_ms", 1), at_most=2, **TIME),
    Row("added delay ms p50, 500 streams", "crowd", latency("delay_ms", 0), **TIME),
    Row("added delay ms p99, 500 streams", "crowd", latency("delay_ms", 1), at_most=10, **TIME),
    Row("added delay ms p50, 1,000 streams", "thousand", latency("delay_ms", 0), **TIME),
    Row("added delay ms p99, 1,000 streams", "thousand", latency("delay_ms", 1), at_most=40, **TIME),
    Row("added TTFT ms p50, 50 streams", "apart", latency("first_ms", 0), **TIME),
    Row("added TTFT ms p99, 50 streams", "apart", latency("first_ms", 1), **TIME),
    Row("added TTFT ms p99, 500 streams", "crowd", latency("first_ms", 1), **TIME),
    Row("added delay ms p50, 1 stream", "single", latency("delay_ms", 0), **TIME),
    Row("plain requests/s, 20 clients", "plain", per_second(REQUESTS), max),
    Row("streamed requests/s, 20 clients", "request", per_second(REQUESTS), max),
    Row("chunks/s, flood", "flood", per_second(CHUNKS), max),
    Row("idle, PSS of all processes, MiB", "idle", all_mib("pss"), at_most=200, headline=True),
    Row("idle, RSS of all processes, MiB", "idle", all_mib("rss")),
    Row("idle, RSS of the web process, MiB", "idle", web_mib, at_most=150),
    Row("idle, cores of all processes", "idle", all_cores, has_ratio=False, form="{:.3f}"),
    Row("memory per open stream, web process, KiB", "memory", stream_kib, at_most=40, **CHUNK),
)  # fmt: skip

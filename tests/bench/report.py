"""What the runs say, as Markdown: the comparison with its targets, and how far the machine can be believed."""

import os
import platform
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MIB, KIB = 1 << 20, 1 << 10


class Results:
    """All runs: (case, target) -> list of figures as `load` prints them, with the pids of the run."""

    def __init__(self):
        self.runs = {}

    def add(self, case, target, run):
        self.runs.setdefault((case, target), []).append(run)

    def values(self, case, target, figure):
        """The figure in every pass."""
        return [figure(run) for run in self.runs.get((case, target), ())]

    def best(self, case, target, figure, pick=min):
        """The best value of a figure over the passes; None when there is none."""
        values = self.values(case, target, figure)
        return pick((value for value in values if value is not None), default=None)


def cpu_per(unit):
    def figure(run):
        return run["cpu"][run["serving"]] / run[unit] * 1e6 if run[unit] else None

    return figure


def per_second(unit):
    return lambda run: run[unit] / run["seconds"]


def cores(role):
    """Cores that the process in a role ("serving", "source_pid", "load_pid") used."""
    return lambda run: run["cpu"].get(run[role], 0) / run["seconds"]


def latency(kind, quantile):
    return lambda run: run[kind][quantile] if run[kind] else None


def idle_mib(run):
    return run["idle_rss"] / MIB


def stream_kib(run):
    return (run["open_rss"] - run["idle_rss"]) / max(1, run["open_streams"]) / KIB


@dataclass(frozen=True)
class Row:
    """One line of the table. `added`: the difference to the run without a gateway is shown and judged."""

    title: str
    case: str
    figure: Any
    pick: Any = min
    at_most: float | None = None
    ratio: float | None = None  # times better than the typical gateway
    share: float | None = None  # of what arrives without a gateway
    added: bool = False
    base: str = ""  # the case whose figure it may exceed `times`, with the same target
    times: float = 1.0
    plus: float | None = None  # by so much it may exceed that of `base`, instead
    form: str = "{:,.0f}"


ROWS = (
    Row("CPU µs per streamed request", "request", cpu_per("requests"), at_most=450, ratio=2),
    Row("CPU µs per plain request", "plain", cpu_per("requests"), at_most=400, ratio=2),
    Row("the same, key and team with limits", "limited", cpu_per("requests"), base="plain", plus=60),
    Row("CPU µs per chunk, flood 50 × 200", "flood", cpu_per("chunks"), at_most=8, ratio=5, form="{:.1f}"),
    Row("CPU µs per chunk, flood, 20 tools", "flood_tools", cpu_per("chunks"), base="flood", times=1.3, form="{:.1f}"),
    Row("CPU µs per chunk, 50 streams × 20 ms", "paced", cpu_per("chunks"), at_most=75, ratio=1.8, form="{:.1f}"),
    Row("the same, streams out of step", "apart", cpu_per("chunks"), form="{:.1f}"),
    Row("streams out of step, 20 tools", "apart_tools", cpu_per("chunks"), base="apart", times=1.3, form="{:.1f}"),
    Row("CPU µs per chunk, 500 streams × 20 ms", "crowd", cpu_per("chunks"), at_most=40, form="{:.1f}"),
    Row("CPU µs per agent request of 500 KB", "agent", cpu_per("requests"), at_most=15_000),
    Row("CPU µs per chunk, 1 stream × 5 ms", "single", cpu_per("chunks"), form="{:.1f}"),
    Row("chunks/s, 500 streams × 20 ms", "crowd", per_second("chunks"), max, share=0.97),
    Row("added delay ms p50, 500 streams", "crowd", latency("delay_ms", 0), at_most=5, added=True, form="{:.2f}"),
    Row("added delay ms p99, 500 streams", "crowd", latency("delay_ms", 1), at_most=40, added=True, form="{:.2f}"),
    Row("added TTFT ms p50, 500 streams", "crowd", latency("first_ms", 0), added=True, form="{:.2f}"),
    Row("added TTFT ms p99, 500 streams", "crowd", latency("first_ms", 1), added=True, form="{:.2f}"),
    Row("added delay ms p50, 50 streams", "paced", latency("delay_ms", 0), added=True, form="{:.2f}"),
    Row("added delay ms p99, 50 streams", "paced", latency("delay_ms", 1), added=True, form="{:.2f}"),
    Row("added TTFT ms p50, 50 streams", "paced", latency("first_ms", 0), added=True, form="{:.2f}"),
    Row("added TTFT ms p99, 50 streams", "paced", latency("first_ms", 1), added=True, form="{:.2f}"),
    Row("added delay ms p50, 1 stream", "single", latency("delay_ms", 0), added=True, form="{:.2f}"),
    Row("streamed requests/s, 20 clients", "request", per_second("requests"), max),
    Row("plain requests/s, 20 clients", "plain", per_second("requests"), max),
    Row("chunks/s, flood", "flood", per_second("chunks"), max),
    Row("cores of the serving process, 500 streams", "crowd", cores("serving"), form="{:.2f}"),
    Row("memory idle, MiB", "memory", idle_mib, at_most=150, form="{:.1f}"),
    Row("memory per open stream, KiB", "memory", stream_kib, at_most=40, form="{:.1f}"),
)


def judged(row, ours, typical, none, base=None):
    """(target, verdict) of our figure; two empty strings when the row has no target or ours was not measured."""
    wanted, missed = [], []
    if row.at_most is not None:
        wanted.append(f"≤ {row.at_most:g}")
        if ours is None or ours > row.at_most:
            missed.append("figure")
    if base is not None:
        most = row.times * base if row.plus is None else base + row.plus
        wanted.append(f"≤ {row.times:g}× {row.base}" if row.plus is None else f"≤ {row.base} + {row.plus:g}")
        if ours is None or ours > most:
            missed.append("ratio")
    if row.ratio is not None:
        wanted.append(f"≥ {row.ratio:g}× better")
        if typical is not None and (ours is None or typical < row.ratio * ours):
            missed.append("ratio")
    if row.share is not None:
        wanted.append(f"≥ {row.share:.0%} of none")
        if none is not None and (ours is None or ours < row.share * none):
            missed.append("figure")
    if ours is None or not wanted:
        return ", ".join(wanted), ""
    return ", ".join(wanted), f"missed ({', '.join(missed)})" if missed else "ok"


def line(row, results):
    """The cells of a row, or None when nothing of it was measured."""
    none, typical, ours = (results.best(row.case, name, row.figure, row.pick) for name in ("none", "typical", "ours"))
    if none is typical is ours is None:
        return None
    shown = [none, typical, ours]
    if row.added and none is not None:
        typical, ours = (value if value is None else value - none for value in (typical, ours))
        shown = [none, typical, ours]
    cells = ["–" if value is None else row.form.format(value) for value in shown]
    if row.added and none is not None:
        cells[0] = f"({cells[0]})"
    ratio = ""
    if typical and ours and ours > 0:
        ratio = f"{(ours / typical if row.pick is max else typical / ours):.1f}×"
    base = results.best(row.base, "ours", row.figure, row.pick) if row.base else None
    return [row.title, *cells, ratio, *judged(row, ours, typical, none, base)]


def table(head, rows):
    rows = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in row)} |" for row in rows)


def comparison(results):
    """The table of the README."""
    head = ["figure", "no gateway", "typical", "ours", "typical ÷ ours", "target", "met"]
    return table(head, [cells for row in ROWS if (cells := line(row, results))])


def change(results, before="before", after="ours"):
    """Our figures beside those of another checkout, where both were measured."""
    rows = []
    for row in ROWS:
        pairs = list(
            zip(results.values(row.case, before, row.figure), results.values(row.case, after, row.figure), strict=False)
        )
        ratios = [new / old for old, new in pairs if old and new]
        if ratios:
            old, new = (results.best(row.case, name, row.figure, row.pick) for name in (before, after))
            added = row.form.format(statistics.median(new - old for old, new in pairs if old and new))
            ratio = f"{statistics.median(ratios):.3f}"
            rows.append([row.title, row.form.format(old), row.form.format(new), ratio, added])
    return table(["figure", "before", "after", "after ÷ before", "after - before"], rows) if rows else ""


def belief(results):
    """Per case and target: what source and load client spent, what else ran, and what went wrong."""
    rows = []
    for (case, target), runs in results.runs.items():
        spent = [
            f"{results.best(case, target, cores(role)):.2f} / {results.best(case, target, cpu_of(role)) or 0:.1f}"
            for role in ("source_pid", "load_pid")
        ]
        spans = [f"{min(run[key] for run in runs):.2f}–{max(run[key] for run in runs):.2f}"
                 for key in ("foreign", "stolen")]  # fmt: skip
        acknowledged = min((run["acknowledged"] for run in runs if run["acknowledged"] is not None), default=None)
        answered = "–" if acknowledged is None else f"{acknowledged:.1%}"
        rows.append([case, target, *spent, *spans, answered, troubles(runs) or "none"])
    head = ["case", "target", "source: cores / µs per chunk", "client: cores / µs per chunk", "foreign cores",
            "stolen cores", "pushes acknowledged", "faults"]  # fmt: skip
    return table(head, rows)


def cpu_of(role):
    return lambda run: run["cpu"].get(run[role], 0) / run["chunks"] * 1e6 if run["chunks"] else None


def troubles(runs):
    """Faults of all passes in one cell; empty when every answer was whole."""
    counts = {}
    for run in runs:
        for what, count in [*run["faults"].items(), ("unfinished", run["unfinished"])]:
            counts[what] = counts.get(what, 0) + count
    return ", ".join(f"{count} × {what}" for what, count in counts.items() if count)


def others(results, name="ours"):
    """Mean cores of the processes around the serving one, per command."""
    spent, seconds = {}, 0.0
    for (_case, target), runs in results.runs.items():
        for run in runs if target == name else ():
            seconds += run["seconds"]
            for pid, what in run["others"].items():
                spent[what] = spent.get(what, 0.0) + run["cpu"].get(pid, 0)
    return ", ".join(f"{what} {used / seconds:.3f}" for what, used in sorted(spent.items()) if seconds)


def machine():
    """One line about the machine."""
    models = [row.partition(":")[2].strip() for row in Path("/proc/cpuinfo").read_text().splitlines()
              if row.startswith("model name")]  # fmt: skip
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / (1 << 30)
    return (f"{models[0] if models else platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GiB, "
            f"{platform.system()} {platform.release()}, Python {platform.python_version()}")  # fmt: skip

"""What a turn costs as the work grows: a table of CPU and memory over its size, and how fast they grow with it."""

import math
import statistics
import sys
import tempfile
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.bench import report
from tests.bench.cases import Case
from tests.bench.figures import all_mib, behind_per_row, peak_mib, per_second, web_per, work_per_turn
from tests.bench.runs import measure
from tests.bench.targets import Ours, source_command
from tests.ports import free_port

PLAIN = Case("growth", 20, 1, streamed=False, warm=0.5, window=2.0)
FASTER = 1.15
"""The exponent from which on something grows faster than its own size; 1 is in proportion."""
NOTICED = 0.15
"""The share by which a figure must grow from one size to the next: less is noise."""
REQUESTS = "requests"


@dataclass(frozen=True)
class Dimension:
    """One thing that grows. Each size is a gateway of its own where it has `settings`; else one has them in turn."""

    name: str
    title: str
    sizes: tuple[int, ...]
    case: Callable[[int], Case] = lambda _size: PLAIN
    settings: Callable[[int], dict[str, str]] | None = None
    seed: Callable[[Any, int, int], None] = lambda _target, _size, _before: None
    attached: bool = False
    first: Callable[[int], Case] | None = None  # run before it, and not counted: what is only done once


def with_keys(target, size, before):
    target.seed("keys", before, size)


def with_sessions(target, size, _before):
    target.seed("sessions", size)


def with_rows(target, size, before):
    if size > before:
        target.seed("rows", size, size - before)


def agents(**more):
    return replace(PLAIN, clients=2, warm=1.0, window=3.0, least=20, **more)


DIMENSIONS = (
    Dimension("history", "history, KB", (1, 10, 100, 1000, 8000), lambda size: agents(tools=1, history_kb=size)),
    Dimension("tools", "tools", (1, 10, 100, 500), lambda size: agents(tools=size)),
    Dimension("images", "images of 100 KB", (1, 3, 10), lambda size: agents(images=size, model="org_vision")),
    Dimension("keys", "keys", (1, 100, 1000, 10_000), seed=with_keys,
              case=lambda size: replace(PLAIN, keys=size),
              first=lambda size: replace(PLAIN, keys=size, warm_requests=size)),
    Dimension("sessions", "sessions", (1, 1000, 10_000, 100_000), seed=with_sessions,
              settings=lambda size: {"SESSION_CACHE_MAX_ENTRIES": str(size)}),
    Dimension("instances", "instances", (1, 10, 100), attached=True, settings=lambda _size: {}),
    Dimension("rows", "usage rows", (0, 10_000, 100_000, 1_000_000), seed=with_rows),
    Dimension("processes", "web processes", (1, 2, 3, 4), settings=lambda size: {"WEB_PROCESSES": str(size)}),
)  # fmt: skip
NAMES = tuple(each.name for each in DIMENSIONS)
HEAD = ["grows", "size", "requests/s", "CPU µs per turn, all", "web", "worker", "Redis", "memory of all, MiB (PSS)",
        "peak of web above rest, MiB", "growth of CPU", "growth of memory"]  # fmt: skip


class Attached(Ours):
    """Ours with so many instances, which are connections to one source."""

    name = "attached"
    count = 1

    def command(self):
        argv, environment = super().command()
        if not self.roots:
            self.ws_port = free_port()
            self.launch(source_command(self.ws_port, free_port(), self.directory), environment)
        urls = ",".join(f"ws://127.0.0.1:{self.ws_port}/{number}" for number in range(self.count))
        return argv, {name: value for name, value in environment.items() if name != "LINGMA_BIN"} | {
            "LINGMA_ATTACH_URLS": urls
        }


def measured(names, stack, quick=False):
    """The lines of the dimensions with these names, all when there are none, and the mean of foreign cores."""
    wanted = set(filter(None, names.split(",")))
    if unknown := wanted - set(NAMES):
        raise SystemExit(f"no such growth: {', '.join(sorted(unknown))}")
    rows, foreign = [], []
    for dimension in DIMENSIONS:
        if not wanted or dimension.name in wanted:
            runs = runs_of(dimension, stack, quick)
            rows += told(dimension, runs)
            foreign += [run["foreign"] for _, run in runs]
    return rows, statistics.mean(foreign)


def merged(page, rows):
    """These lines, and those of the page about what was not measured now."""
    kept = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")]
    kept = [[*cells, *[""] * (len(HEAD) - len(cells))] for cells in kept]
    now = {cells[0] for cells in rows}
    every = rows + [cells for cells in kept if cells[0] not in now]
    return [cells for dimension in DIMENSIONS for cells in every if cells[0] == dimension.title]


def page(rows, foreign=0.0):
    """The table, and how it came about; `foreign` is the mean of cores that other programs used."""
    told = (
        "CPU is what a turn costs beyond what the processes spend at rest. Growth is the exponent between the last two "
        f"sizes: 1 is in proportion, 2 is squared, and flat is less than {NOTICED:.0%} more. "
        f"Machine: {report.machine()}."
        + (f" Other programs used {foreign:.1f} cores meanwhile." if foreign > report.BUSY else "")
    )
    return f"{report.table(HEAD, rows)}\n\n{textwrap.fill(told, 120)}"


def runs_of(dimension, stack, quick):
    """[(size, run)] of a dimension."""
    runs, target, before = [], None, 0
    for size in dimension.sizes[: 2 if quick else None]:
        if target is None or dimension.settings:
            if target is not None:
                target.stop()
            target = started(dimension, size, stack)
            before = 0
        dimension.seed(target, size, before)
        before = size
        if dimension.first:
            measure(dimension.first(size), target)
            target.come_to_rest()
        runs.append((size, measure(dimension.case(size), target)))
        print(f"{dimension.name:10} {size:>9,} {told(dimension, runs)[-1][2:]} {report.troubles([runs[-1][1]])}",
              file=sys.stderr, flush=True)  # fmt: skip
    target.stop()
    return runs


def started(dimension, size, stack):
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lgw-growth-")))
    kind = Attached if dimension.attached else Ours
    target = kind(directory, **(dimension.settings or (lambda _size: {}))(size))
    target.count = size
    stack.callback(target.stop)
    target.start()
    return target


def told(dimension, runs):
    """The lines of a dimension; the growth stands on its last."""
    figures = [work_per_turn, web_per(REQUESTS), behind_per_row("worker"), behind_per_row("redis")]
    lines = []
    for size, run in runs:
        spent = [figure(run) for figure in figures]
        lines.append([dimension.title, f"{size:,}", f"{per_second(REQUESTS)(run):,.0f}",
                      *("–" if each is None else f"{each:,.0f}" for each in spent),
                      f"{all_mib('pss', 'loaded')(run):,.0f}", f"{peak_mib(run):,.0f}", "", ""])  # fmt: skip
    memory = [(size, all_mib("pss", "loaded")(run) + peak_mib(run)) for size, run in runs]
    lines[-1][-2:] = [growth([(size, work_per_turn(run)) for size, run in runs]), growth(memory)]
    return lines


def growth(points):
    """How fast the second of each pair grows with the first, from the last but one to the last, as a text."""
    if len(points) < 2 or None in (cost for _, cost in points):
        return ""
    (near, near_cost), (far, far_cost) = points[-2:]
    if far_cost < near_cost * (1 + NOTICED):
        return "flat"
    exponent = math.log(far_cost / near_cost) / math.log(far / near)
    return f"{exponent:.2f}{' FASTER' if exponent > FASTER else ''}"

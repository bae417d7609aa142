"""What the runs say, as Markdown: the comparison with its targets, and how far the machine can be believed."""

import os
import platform
import statistics
from pathlib import Path

from tests.bench.figures import MIB, behind_per_row, cores, spent_per_chunk, web_per
from tests.bench.rows import ROWS
from tests.bench.runs import OUTSIDE

BUSY = 0.3  # cores of other programs


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


def table(head, rows):
    rows = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in row)} |" for row in rows)


def ratio(row, results):
    """Ours to the bare proxy's; None where one of them was not measured, or the row has none."""
    ours = results.best(row.case, "ours", row.figure, row.pick)
    case, figure = row.beside or (row.case, row.figure)
    bare = results.best(case, "bare", figure, row.pick)
    return None if row.added or not row.has_ratio or not ours or not bare else ours / bare


def ratios(results):
    """All of them, by the title of their row: what is kept from run to run."""
    found = {row.title: ratio(row, results) for row in ROWS}
    return {title: round(value, 4) for title, value in found.items() if value}


def judged(row, ours, bare, none, base=None):
    """(target, verdict) of our figure; two empty strings when the row has no target or ours was not measured."""
    bounds = []  # (as it is shown, what ours may be; None when that was not measured, and whether more is better)
    if row.times is not None:
        bounds.append((f"≤ {row.times:g} × bare", bare and row.times * bare, False))
    if row.at_most is not None:
        bounds.append((f"≤ {row.at_most:g}", row.at_most, False))
    if row.base:
        shown = f"≤ {row.factor:g} × {row.base}" if row.plus is None else f"≤ {row.base} + {row.plus:g}"
        bounds.append((shown, base and (row.factor * base if row.plus is None else base + row.plus), False))
    if row.share is not None:
        bounds.append((f"≥ {row.share:.0%} of no gateway", none and row.share * none, True))
    wanted = ", ".join(shown for shown, _, _ in bounds)
    held = [(ours >= bound) if more else (ours <= bound) for _, bound, more in bounds if None not in (bound, ours)]
    if not held:
        return wanted, ""
    return wanted, "met" if all(held) else "missed"


def line(row, results, targets):
    """The cells of a row, or None when ours was not measured."""
    values = {name: results.best(row.case, name, row.figure, row.pick) for name in ("none", "bare", "litellm", "ours")}
    none = values["none"]
    if values["ours"] is None:
        return None
    if row.added and none is not None:
        values = {name: value if value is None or name == "none" else value - none for name, value in values.items()}
    shown = {name: "–" if value is None else row.form.format(value) for name, value in values.items()}
    if row.added and none is not None:
        shown["none"] = f"({shown['none']})"
    base = results.best(row.base, "ours", row.figure, row.pick) if row.base else None
    to_bare = ratio(row, results)
    verdict = judged(row, values["ours"], values["bare"], none, base)
    cells = ["" if to_bare is None else f"{to_bare:.2f}", *verdict]
    return [row.title, *(shown[name] for name in targets), *cells]


HEADS = {"none": "no gateway", "bare": "bare proxy", "litellm": "LiteLLM", "ours": "ours"}


def measured(results):
    """The targets that have a column."""
    names = {target for _, target in results.runs}
    return [name for name in HEADS if name != "litellm" or name in names]


def comparison(results):
    """The table of docs/performance.md."""
    targets = measured(results)
    head = ["figure", *(HEADS[name] for name in targets), "ours ÷ bare", "target", "met"]
    return table(head, [cells for row in ROWS if (cells := line(row, results, targets))])


def headlines(results):
    """The few lines of it that the README has."""
    targets = measured(results)
    head = ["figure", *(HEADS[name] for name in targets), "ours ÷ bare"]
    return table(head, [cells[:-2] for row in ROWS if row.headline and (cells := line(row, results, targets))])


def worse(results, before, allowed):
    """title -> (ratio before, ratio now) of what got worse by more than the share `allowed`."""
    found = {}
    for row in ROWS:
        now, then = ratio(row, results), before.get(row.title)
        if now and then and (then / now if row.pick is max else now / then) > 1 + allowed:
            found[row.title] = (then, round(now, 4))
    return found


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
            f"{results.best(case, target, cores(part)):.2f} / {results.best(case, target, per_chunk) or 0:.1f}"
            for part, per_chunk in ((name, spent_per_chunk(name)) for name in ("source", "client"))
        ]
        spans = [f"{min(run[key] for run in runs):.2f}–{max(run[key] for run in runs):.2f}"
                 for key in ("foreign", "stolen")]  # fmt: skip
        acknowledged = min((run["acknowledged"] for run in runs if run["acknowledged"] is not None), default=None)
        answered = "–" if acknowledged is None else f"{acknowledged:.1%}"
        rows.append([case, target, *spent, *spans, answered, troubles(runs) or "none"])
    head = ["case", "target", "source: cores / µs per chunk", "client: cores / µs per chunk", "foreign cores",
            "stolen cores", "pushes acknowledged", "faults"]  # fmt: skip
    return table(head, rows)


def troubles(runs):
    """Faults of all passes in one cell; empty when every answer was whole."""
    counts = {}
    for run in runs:
        for what, count in [*run["faults"].items(), ("unfinished", run["unfinished"])]:
            counts[what] = counts.get(what, 0) + count
    return ", ".join(f"{count} × {what}" for what, count in counts.items() if count)


def parts(results, name="ours"):
    """A table of the parts of our gateway: CPU per request until it is filed, and memory at rest."""
    idle = (results.runs.get(("idle", name)) or results.runs.get(("plain", name)) or [None])[0]
    rows = []
    for part in sorted(set(idle["pss"]["at_rest"]) - OUTSIDE) if idle else ():
        figure = web_per("requests") if part == "web" else behind_per_row(part)
        spent = results.best("plain", name, figure)
        mib = [f"{idle[kind]['at_rest'][part] / MIB:.0f}" for kind in ("pss", "rss")]
        rows.append([part, "–" if spent is None else f"{spent:.1f}", *mib])
    return table(["part", "CPU µs per plain request", "PSS at rest, MiB", "RSS at rest, MiB"], rows) if rows else ""


def foreign(results):
    """Cores that other programs used in the mean, when they were too many to believe the figures; else 0."""
    used = statistics.mean(run["foreign"] for runs in results.runs.values() for run in runs)
    return used if used > BUSY else 0


def machine():
    """One line about the machine."""
    models = [row.partition(":")[2].strip() for row in Path("/proc/cpuinfo").read_text().splitlines()
              if row.startswith("model name")]  # fmt: skip
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / (1 << 30)
    return (f"{models[0] if models else platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GiB, "
            f"{platform.system()} {platform.release()}, Python {platform.python_version()}")  # fmt: skip

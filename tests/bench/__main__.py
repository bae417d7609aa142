"""`make bench`: every case against every target, interleaved, best of the passes, as a Markdown table."""

import argparse
import json
import subprocess
import sys
import tempfile
import textwrap
import time
from contextlib import ExitStack
from pathlib import Path

from tests.bench import growth, pages, records, report
from tests.bench.cases import CASES, quick
from tests.bench.figures import all_per, web_per
from tests.bench.rows import ROWS
from tests.bench.runs import measure
from tests.bench.targets import ROOT, SUPERVISOR, TARGETS, Before, LiteLLM, Ours

TIME_LIMIT = 290  # s; passes that do not fit any more are left out
ALLOWED = 0.10
MORE_PASSES = 2  # of the cases that seem to be worse


def options(argv):
    parser = argparse.ArgumentParser(prog="tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one pass of shorter cases")
    parser.add_argument("--passes", type=int, default=0, help="default 3, 1 with --quick")
    parser.add_argument("--limit", type=float, default=TIME_LIMIT, help="seconds for all passes (%(default)s)")
    parser.add_argument("--only", default="none,bare,litellm,ours", help="targets, e.g. bare,ours")
    parser.add_argument("--scenario", default="", help=f"cases: {','.join(case.name for case in CASES)}")
    parser.add_argument("--json", type=Path, help="also write every figure there")
    parser.add_argument(
        "--write", action="store_true", help="write the documents' tables, and the ratios to check against"
    )
    parser.add_argument("--check", action="store_true", help="exit 1 when a ratio got worse by more than 10 %%")
    parser.add_argument(
        "--growth", nargs="?", const="", help=f"what work costs as it grows: {','.join((*growth.NAMES, pages.NAME))}"
    )
    parser.add_argument("--against", type=Path, help="another checkout of the gateway, measured in the same run")
    parser.add_argument("--command", default=SUPERVISOR, help="how ours is started")
    parser.add_argument("--litellm", default="litellm", help="LiteLLM's program, measured too where it is installed")
    return parser.parse_args(argv)


def chosen(given):
    """The cases and targets to run. SystemExit for a name that does not exist."""
    wanted, names = [set(filter(None, text.split(","))) for text in (given.scenario, given.only)]
    if unknown := wanted - {case.name for case in CASES} | names - {target.name for target in TARGETS}:
        raise SystemExit(f"no such case or target: {', '.join(sorted(unknown))}")
    cases = [case for case in CASES if (case.name in wanted if wanted else case.passes)]
    kinds = [kind for kind in TARGETS if kind.name in names and (kind is not LiteLLM or LiteLLM.is_installed())]
    return [quick(case) if given.quick else case for case in cases], kinds


def passes(numbers, cases, targets, results, deadline):
    """All runs, in an order that turns from pass to pass."""
    for number in numbers:
        for case in cases:
            if number and number >= case.passes:
                continue
            for target in targets[number % len(targets) :] + targets[: number % len(targets)]:
                if case.only and (target.kind or target.name) not in case.only:
                    continue
                if time.monotonic() > deadline:
                    print("out of time: the rest is left out", file=sys.stderr)
                    return
                run = measure(case, target)
                results.add(case.name, target.name, run)
                progress(number, case, target, run)
                if run["unfinished"]:  # a gateway that fell behind starts the next case afresh
                    target.stop()
                    target.start()


def progress(number, case, target, run):
    unit = "requests" if case.chunks == 1 else "chunks"
    web, whole = (figure(unit)(run) or 0 for figure in (web_per, all_per))
    faults = report.troubles([run])
    print(f"pass {number + 1}  {case.name:11} {target.name:8} {web:8.1f} µs web {whole:8.1f} µs all per {unit[:-1]:8}"
          f"{run[unit] / run['seconds']:9,.0f} {unit}/s  foreign {run['foreign']:.2f}  {faults}",
          file=sys.stderr, flush=True)  # fmt: skip


def conditions(results):
    """How the figures came about."""
    busy = report.foreign(results)
    warning = f" Other programs used {busy:.1f} cores meanwhile: a quiet machine gives other figures." if busy else ""
    return f"Best of the passes. Machine: {report.machine()}.{warning}"


def tell(results):
    print(f"\n{report.comparison(results)}\n")
    print(f"{conditions(results)}\n")
    if change := report.change(results):
        print(f"What the change costs, medians of ratios and differences pass by pass:\n\n{change}\n")
    print(report.belief(results))
    if around := report.parts(results):
        print(f"\nThe parts of ours:\n\n{around}")


def checked(results, before, again):
    """0 when no ratio is worse than `before`, else 1. What seems worse is measured again first."""
    if found := report.worse(results, before, ALLOWED):
        print(f"measured again: {', '.join(found)}", file=sys.stderr)
        suspects = [row for row in ROWS if row.title in found]
        again({row.case for row in suspects} | {row.beside[0] for row in suspects if row.beside})
        found = report.worse(results, before, ALLOWED)
    for title, (then, now) in found.items():
        print(f"WORSE by more than {ALLOWED:.0%}: {title}: {now:.3f} × the bare proxy's, was {then:.3f}")
    if not found:
        print(
            f"Of {len(report.ratios(results).keys() & before.keys())} ratios none got worse by more than {ALLOWED:.0%}."
        )
    return 1 if found else 0


def written(results):
    told = textwrap.fill(conditions(results), 120)
    text = f"{report.comparison(results)}\n\nThe parts of ours:\n\n{report.parts(results)}\n\n{told}"
    records.write_section("bench", text)
    for page in records.READMES:
        records.write_section("headlines", report.headlines(results), page)
    records.write_ratios(report.ratios(results), report.machine())


def live_page():
    """One line on what it costs to be watched."""
    argv = [sys.executable, "-m", "tests.bench.live_page"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout.strip() or f"the live page was not measured: {done.stderr[-300:]}"


def compared(given, stack):
    """Run the comparison; the exit code."""
    cases, kinds = chosen(given)
    if given.against:
        Before.root = given.against.resolve()
        kinds.append(Before)
    results = report.Results()
    directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="lgw-bench-"))
    targets = [kind(Path(directory)) for kind in kinds]
    for target in targets:
        stack.callback(target.stop)
        target.start()
    count = given.passes or (1 if given.quick else 3)
    passes(range(count), cases, targets, results, time.monotonic() + given.limit)

    def again(names):
        suspects = [case for case in cases if case.name in names]
        passes(range(MORE_PASSES), suspects, targets, results, time.monotonic() + given.limit)

    code = checked(results, records.read_ratios(), again) if given.check else 0
    tell(results)
    if not given.scenario:
        print("", live_page(), sep="\n")
    if given.write:
        written(results)
    if given.json:
        given.json.write_text(json.dumps([[*key, runs] for key, runs in results.runs.items()], indent=1))
    failed = [runs for (_case, target), runs in results.runs.items() if target == "ours" and report.troubles(runs)]
    return 1 if failed else code


def main(argv=None):
    given = options(argv)
    Ours.argv, LiteLLM.program = given.command, given.litellm
    with ExitStack() as stack:
        if given.growth is None:
            return compared(given, stack)
        grown(given, stack)
    return 0


def grown(given, stack):
    names = set(filter(None, given.growth.split(","))) or {*growth.NAMES, pages.NAME}
    if others := names - {pages.NAME}:
        rows, foreign = growth.measured(",".join(others), stack, quick=given.quick)
        print(growth.page(rows, foreign))
        if given.write:
            records.write_section("growth", growth.page(growth.merged(records.read_section("growth"), rows), foreign))
    if pages.NAME in names:
        rows = pages.FEW if given.quick else pages.ROWS
        found = pages.measured(stack, rows, note=lambda words: print(words, file=sys.stderr, flush=True))
        text = pages.page(found, rows)
        print(text)
        if given.write:
            records.write_section(pages.NAME, text)


if __name__ == "__main__":
    sys.exit(main())

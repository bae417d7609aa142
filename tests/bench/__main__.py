"""`make bench`: every case against every target, interleaved, best of the passes, as a Markdown table."""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from tests.bench import processes, report
from tests.bench.cases import CASES, quick
from tests.bench.targets import ROOT, SUPERVISOR, TARGETS, Before, Ours, clean_environment

RUN_TIMEOUT = 60
TIME_LIMIT = 290  # s; passes that do not fit any more are left out


def options(argv):
    parser = argparse.ArgumentParser(prog="tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one pass of shorter cases")
    parser.add_argument("--passes", type=int, default=0, help="default 3, 1 with --quick")
    parser.add_argument("--limit", type=float, default=0, help=f"seconds for all passes, default {TIME_LIMIT}")
    parser.add_argument("--only", default="none,typical,ours", help="targets, e.g. ours,typical")
    parser.add_argument("--scenario", default="", help=f"cases: {','.join(case.name for case in CASES)}")
    parser.add_argument("--json", type=Path, help="also write every figure there")
    parser.add_argument("--against", type=Path, help="another checkout of the gateway, measured in the same run")
    parser.add_argument("--command", default=SUPERVISOR, help="how ours is started")
    return parser.parse_args(argv)


def chosen(given):
    """The cases and targets to run. SystemExit for a name that does not exist."""
    wanted, names = [set(filter(None, text.split(","))) for text in (given.scenario, given.only)]
    if unknown := wanted - {case.name for case in CASES} | names - {target.name for target in TARGETS}:
        raise SystemExit(f"no such case or target: {', '.join(sorted(unknown))}")
    cases = [case for case in CASES if (case.name in wanted if wanted else case.passes)]
    return [quick(case) if given.quick else case for case in cases], [kind for kind in TARGETS if kind.name in names]


def measure(case, target):
    """Run the load client once and give its figures, with who was who."""
    pids = {pid: processes.name(pid) for pid in target.pids()}
    order = {
        "case": asdict(case),
        "port": target.port,
        "key": target.key(case),
        "watch": list(pids),
        "rss": target.serving,
    }
    argv = [sys.executable, "-m", "tests.bench.load", json.dumps(order)]
    done = subprocess.run(
        argv, cwd=ROOT, env=clean_environment(), capture_output=True, timeout=RUN_TIMEOUT, check=False
    )
    if done.returncode:
        raise SystemExit(f"the load client failed on {case.name} against {target.name}:\n{done.stderr.decode()}")
    run = json.loads(done.stdout)
    run["cpu"] = {int(pid): spent for pid, spent in run["cpu"].items()}
    source = target.source()
    others = {pid: name for pid, name in pids.items() if pid not in {target.serving, source}}
    return run | {
        "serving": target.serving,
        "source_pid": source,
        "others": others,
        "acknowledged": target.acknowledged(),
    }


def passes(given, cases, targets, results):
    """All runs, in an order that turns from pass to pass."""
    deadline = time.monotonic() + (given.limit or TIME_LIMIT)
    for number in range(given.passes or (1 if given.quick else 3)):
        for case in cases:
            if number and number >= case.passes:
                continue
            for target in targets[number % len(targets) :] + targets[: number % len(targets)]:
                if case.only not in ("", target.kind or target.name):
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
    spent = report.cpu_per(unit)(run)
    faults = report.troubles([run])
    print(f"pass {number + 1}  {case.name:8} {target.name:8} {spent or 0:8.1f} µs per {unit[:-1]:8}"
          f"{run[unit] / run['seconds']:9,.0f} {unit}/s  foreign {run['foreign']:.2f}  {faults}",
          file=sys.stderr, flush=True)  # fmt: skip


def tell(results):
    print(f"\n{report.comparison(results)}\n")
    print(f"CPU of the serving process; best of the passes. Machine: {report.machine()}.\n")
    if change := report.change(results):
        print(f"What the change costs, medians of ratios and differences pass by pass:\n\n{change}\n")
    print(report.belief(results))
    if around := report.others(results):
        print(f"\nProcesses around ours, mean cores: {around}.")


def main(argv=None):
    given = options(argv)
    Ours.argv = given.command
    cases, kinds = chosen(given)
    if given.against:
        Before.root = given.against.resolve()
        kinds.append(Before)
    results = report.Results()
    with tempfile.TemporaryDirectory(prefix="lgw-bench-") as directory, ExitStack() as stack:
        targets = [kind(Path(directory)) for kind in kinds]
        for target in targets:
            stack.callback(target.stop)
            target.start()
        passes(given, cases, targets, results)
    tell(results)
    if given.json:
        given.json.write_text(json.dumps([[*key, runs] for key, runs in results.runs.items()], indent=1))
    failed = [runs for (_case, target), runs in results.runs.items() if target == "ours" and report.troubles(runs)]
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

"""`make trials`: every harm against a gateway under load, as a Markdown table. Exit code 1 when a bound is missed."""

import argparse
import asyncio
import json
import signal
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

from tests.trials import report
from tests.trials.catalogue import BY_NAME, TRIALS
from tests.trials.run import play
from tests.trials.stage import Stage, Template


def options(argv):
    parser = argparse.ArgumentParser(prog="tests.trials", description=__doc__)
    parser.add_argument("--only", default="", help="names of trials, e.g. kill-redis,full-disk")
    parser.add_argument("--seconds", type=float, default=0, help="of load after each harm")
    parser.add_argument("--list", action="store_true", help="list the trials")
    parser.add_argument("--json", type=Path, help="also write every figure there")
    parser.add_argument("--log", type=Path, help="also write what the gateways printed there, a file for each trial")
    return parser.parse_args(argv)


def chosen(given):
    """The trials to run. SystemExit for a name that does not exist."""
    wanted = [name for name in given.only.split(",") if name]
    if unknown := set(wanted) - set(BY_NAME):
        raise SystemExit(f"no such trial: {', '.join(sorted(unknown))}; --list tells all")
    trials = [BY_NAME[name] for name in wanted] or TRIALS
    return [replace(trial, seconds=given.seconds or trial.seconds) for trial in trials]


async def run(trial, template, log):
    """One trial on a gateway of its own."""
    async with Stage(trial.setup, template) as stage:
        try:
            return await play(trial, stage)
        finally:
            if log is not None:
                log.mkdir(parents=True, exist_ok=True)
                (log / f"{trial.name}.log").write_bytes(stage.output.read_bytes())


def all_of(trials, log):
    """(results, what was left out) of the trials, one after the other."""
    results, left_out = [], []
    with Template() as template:
        for trial in trials:
            if why := trial.setup.missing():
                left_out.append(f"{trial.name} is left out: {why}.")
                continue
            began = time.monotonic()
            result = asyncio.run(run(trial, template, log))
            results.append(result)
            spent = time.monotonic() - began
            print(
                f"{report.row(result)}  {spent:.0f} s{report.reasons(result)}{report.weights(result)}",
                file=sys.stderr,
                flush=True,
            )
    return results, left_out


def main(argv=None):
    given = options(argv)
    trials = chosen(given)
    if given.list:
        print("\n".join(f"{trial.name:20} {trial.says}" for trial in trials))
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # an exit that tidies up
    results, left_out = all_of(trials, given.log)
    print("\n".join(["", report.table(results), "", *left_out]))
    if given.json:
        given.json.write_text(json.dumps([asdict(result) for result in results], indent=1))
    return 1 if any(result.misses for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())

"""One run of a case against a target: the load client's figures, and what each part of the gateway spent."""

import json
import subprocess
import sys
from dataclasses import asdict

from tests.bench import processes
from tests.bench.processes import by_part
from tests.bench.targets import ROOT, clean_environment

TIMEOUT = 300
OUTSIDE = {"source", "client"}  # parts of the bench, not of the gateway


def measure(case, target):
    """The figures of `load` by parts instead of processes, and what was spent until the last row was filed."""
    parts = target.parts()
    filed, before = target.filed(), processes.snapshot(parts)
    run = load(case, target, list(parts))
    rows = target.settle(filed + run["all_requests"]) - filed
    after = processes.snapshot(parts)
    spent = {pid: seconds - before["cpu"][pid] for pid, seconds in after["cpu"].items()}
    parts[run["load_pid"]] = "client"
    return run | {
        "cpu": by_part(run["cpu"], parts),
        # Filing goes on when the last answer has ended, so what stands behind the turns is counted over all of it.
        "until_filed": by_part(spent, parts),
        "seconds_until_filed": after["at"] - before["at"],
        "cores_at_rest": target.at_rest,
        "filed": rows,
        "pss": {when: by_part({pid: pss for pid, (_, pss) in run[when].items()}, parts) for when in MOMENTS},
        "rss": {when: by_part({pid: rss for pid, (rss, _) in run[when].items()}, parts) for when in MOMENTS},
        "peak": by_part(run["peak"], parts),
        "acknowledged": target.acknowledged(),
    }


MOMENTS = ("at_rest", "loaded")


def load(case, target, watch):
    order = {"case": asdict(case), "port": target.port, "keys": target.keys(case), "watch": watch}
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.load"], input=json.dumps(order).encode(), cwd=ROOT,
        env=clean_environment(), capture_output=True, timeout=TIMEOUT, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"the load client failed on {case.name} against {target.name}:\n{done.stderr.decode()}")
    return json.loads(done.stdout)

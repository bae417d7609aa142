"""What counting costs: values in memory that are written once a second, beside the library's mapped files.

`python -m tests.bench.metric_values [--rounds 7] [--counts 100000]`; nanoseconds of CPU for a count, and for an
observation of a histogram with ten buckets. Rounds are interleaved, each in a process of its own.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile

TIMED = """
import sys, time
if sys.argv[1] == "ours":
    from gateway_project.lib.prometheus_values import install_fast_values
    install_fast_values()
from prometheus_client import Counter, Histogram
count = Counter("count", "c", ["model"]).labels("m")
seen = Histogram("seen", "s", ["model"], buckets=range(1, 11)).labels("m")
rounds = int(sys.argv[2])
for each in (count.inc, lambda: seen.observe(4.5)):
    began = time.process_time_ns()
    for _ in range(rounds):
        each()
    print((time.process_time_ns() - began) / rounds)
"""


def measured(name, counts):
    with tempfile.TemporaryDirectory(prefix="lgw-bench-") as directory:
        argv = [sys.executable, "-c", TIMED, name, str(counts)]
        env = os.environ | {"PROMETHEUS_MULTIPROC_DIR": directory}
        done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=120, check=True)
    return [float(line) for line in done.stdout.split()]


def main():
    parser = argparse.ArgumentParser(prog="tests.bench.metric_values", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--counts", type=int, default=100_000)
    given = parser.parse_args()
    results = {"ours": [], "library": []}
    for _ in range(given.rounds):
        for name, runs in results.items():
            runs.append(measured(name, given.counts))
    for name, runs in results.items():
        count, observation = (statistics.median(column) for column in zip(*runs, strict=True))
        print(f"{name:8} {count:8.0f} ns a count {observation:8.0f} ns an observation")


if __name__ == "__main__":
    main()

"""`python -m gateway_project.celery worker` or `… beat`: a process of the gateway, without Celery's command line.

That one loads a shell, a monitor and all pages of the console: a third of a start.
"""

import argparse
import os
import sys
import warnings

from gateway_project.celery import app
from gateway_project.lib import console


def work(loglevel: str) -> int:
    """Run tasks until a signal comes; return the exit code. Two threads: a long clean-up must delay no other task."""
    worker = app.Worker(
        pool_cls="threads", concurrency=2, without_mingle=True, without_gossip=True, loglevel=loglevel, quiet=True
    )
    worker.start()
    return worker.exitcode or 0


def schedule(loglevel: str) -> int:
    """Hand out the scheduled tasks until a signal comes."""
    app.Beat(loglevel=loglevel, quiet=True).run()
    return 0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m gateway_project.celery")
    parser.add_argument("part", choices=["worker", "beat"])
    parser.add_argument("--loglevel", default="INFO", choices=["DEBUG", "INFO", "WARNING", "ERROR"])
    asked = parser.parse_args()
    console.served = False
    # Celery's checks of the project load all pages, and nobody reads what they find; `manage.py check` and the doctor
    # do.
    os.environ["CELERY_SKIP_CHECKS"] = "1"
    # In a container everything often runs as root, and Celery would warn of it at each start.
    warnings.filterwarnings("ignore", "You're running the worker with superuser")
    run = work if asked.part == "worker" else schedule
    sys.exit(run(asked.loglevel))


if __name__ == "__main__":
    main()

"""`python -m gateway_project.celery worker`, `… beat` or `… logins`: a process without Celery's command line.

That one loads a shell, a monitor and all pages of the console: a third of a start.
"""

import argparse
import os
import platform
import sys
import warnings

from gateway_project import login_worker
from gateway_project.celery import EndWhenIdle, UsageFlush, app
from gateway_project.lib.processes import console, life_signs
from gateway_project.login_worker import URL

LOGINS_AT_ONCE = 4
"""Most of them wait for a person."""


def work(loglevel: str, *, has_scheduler: bool = False) -> int:
    """Run tasks until a signal comes; return the exit code. Two threads: a long clean-up must delay no other task.

    `has_scheduler`: hand out the scheduled ones as well.
    """
    if has_scheduler:
        import django

        django.setup()
        from gateway_project.beat import SchedulerThread  # it needs the models

        app.steps["worker"].add(SchedulerThread)
    worker = app.Worker(
        pool_cls="threads", concurrency=2, without_mingle=True, without_gossip=True, loglevel=loglevel, quiet=True
    )
    worker.start()
    return worker.exitcode or 0


def log_in(loglevel: str) -> int:
    """Run attempts to log in to Lingma; once there are none for a while, become what waits for the next."""
    import django

    # A task that no other process needs, so it is not among those that are found. It needs the models.
    django.setup()
    import bridge.signin.tasks  # noqa: F401

    # What the other worker does by a clock of its own, and answers, it does alone.
    app.steps["worker"].discard(UsageFlush)
    app.steps["worker"].add(EndWhenIdle)
    app.conf.worker_enable_remote_control = False
    worker = app.Worker(
        pool_cls="threads", concurrency=LOGINS_AT_ONCE, queues=["logins"], hostname=f"logins@{platform.node()}",
        loglevel=loglevel, without_mingle=True, without_gossip=True, quiet=True,
    )  # fmt: skip
    worker.start()
    if EndWhenIdle.has_ended and URL in os.environ:
        life_signs.hand_on()
        os.execv(sys.executable, [sys.executable, "-m", login_worker.__name__, loglevel])  # noqa: S606
    return worker.exitcode or 0


def schedule(loglevel: str) -> int:
    """Hand out the scheduled tasks until a signal comes."""
    import django

    django.setup()
    from gateway_project.beat import Service  # it needs the models

    beat = app.Beat(loglevel=loglevel, quiet=True)
    beat.Service = Service
    beat.run()
    return 0


PARTS = {"worker": work, "beat": schedule, "logins": log_in}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m gateway_project.celery")
    parser.add_argument("part", choices=list(PARTS))
    parser.add_argument("--loglevel", default="INFO", choices=["DEBUG", "INFO", "WARNING", "ERROR"])
    parser.add_argument("--beat", action="store_true", help="a worker that is the scheduler too")
    asked = parser.parse_args()
    options = {"has_scheduler": True} if asked.beat and asked.part == "worker" else {}
    console.served = False
    # Celery's checks of the project load all pages, and nobody reads what they find; `manage.py check` and the doctor
    # do.
    os.environ["CELERY_SKIP_CHECKS"] = "1"
    # In a container everything often runs as root, and Celery would warn of it at each start.
    warnings.filterwarnings("ignore", "You're running the worker with superuser")
    sys.exit(PARTS[asked.part](asked.loglevel, **options))


if __name__ == "__main__":
    main()

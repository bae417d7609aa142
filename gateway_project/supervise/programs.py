"""The processes that the gateway consists of, and how each is started."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gateway_project import embedded_redis
from gateway_project.env import Environment
from gateway_project.login_worker import URL
from gateway_project.supervise.child import Program

WEB, LOGIN_WORKER, WORKER, BEAT = "web", "login-worker", "worker", "beat"
ALL = frozenset({WEB, LOGIN_WORKER, WORKER, BEAT})
"""What a gateway consists of, by the names that a command line takes."""
PREPARE = "prepare"
"""What comes before all of them; alone, it is done and the supervisor ends."""
WEB_SILENCE = 20.0
"""Seconds: a large request may hold an event loop for one or two."""
REDIS_SILENCE = 30.0
"""It may wait for a slow disk."""
BACKGROUND_SILENCE = 60.0
"""Nobody waits for them, and a search for the broker may take its time."""


def ours(name: str, module: str, *arguments: str, **more: Any) -> Program:
    """A program that is a module of ours."""
    return Program(name, (sys.executable, "-m", module, *arguments), module=module, **more)


def shared_environment(env: Environment, data_dir: Path, part: str) -> dict[str, str]:
    """Variables of every process beyond our own environment. A part that is started again has the same name."""
    return {
        "DATA_DIR": str(data_dir),
        "PROMETHEUS_MULTIPROC_DIR": str(data_dir / "metrics"),
        "METRICS_PART": part,
        # Else lines would come in blocks, and the last ones before a crash not at all.
        "PYTHONUNBUFFERED": "1",
    }


def redis(env: Environment, data_dir: Path) -> list[Program]:
    """The embedded server, unless there is another to use."""
    # What cannot work ends within milliseconds; who has run for a second was killed, however often.
    if env.redis_url:
        return []
    command, address = embedded_redis.command(data_dir), data_dir / "redis.sock"
    return [Program("redis", command, steady=1.0, silence=REDIS_SILENCE, pinged=address)]


def prepare(env: Environment, data_dir: Path) -> Program:
    return ours(
        "prepare", "gateway_project.supervise.prepare", environment=shared_environment(env, data_dir, "prepare")
    )


def fork_server(env: Environment, data_dir: Path) -> Program:
    """As it is started when the first one, a fork of the supervisor itself, has ended."""
    command = (sys.executable, "-m", "gateway_project.supervise.forkserver")
    return Program("forks", command, shared_environment(env, data_dir, "forks"))


def web(env: Environment, data_dir: Path, listeners: Sequence[int], named: frozenset[str]) -> list[Program]:
    # A worker on the same machine files what they spool; else they send it to Redis themselves.
    filed = {"SPOOL_IS_FILED": "1"} if WORKER in named else {}
    return [
        ours(
            f"web-{number}",
            "gateway_project.server",
            *(f"--fd={each}" for each in listeners),
            environment={**shared_environment(env, data_dir, f"web-{number}"), "WEB_PROCESS": str(number), **filed},
            inherited=tuple(listeners),
            grace=env.drain_sec + 5,  # the server itself ends the streams after DRAIN_SEC
            silence=WEB_SILENCE,
        )
        for number in range(1, env.web_processes + 1)
    ]


def background(env: Environment, data_dir: Path, named: frozenset[str]) -> list[Program]:
    """Celery's worker, its scheduler, and the worker for log-ins at Lingma, which begins when it is needed.

    Where worker and scheduler run on one machine they are one process, which saves a tenth of the gateway's memory.
    """

    def program(name: str, module: str, *arguments: str, **variables: str) -> Program:
        environment = {**shared_environment(env, data_dir, name), **variables}
        return ours(name, module, *arguments, environment=environment, silence=BACKGROUND_SILENCE)

    level = f"--loglevel={env.log_level}"
    programs = []
    if LOGIN_WORKER in named:
        url = env.redis_or_embedded_url
        programs.append(program(LOGIN_WORKER, "gateway_project.login_worker", env.log_level, **{URL: url}))
    if {WORKER, BEAT} <= named:
        programs.append(program(WORKER, "gateway_project.celery", WORKER, "--beat", level))
    else:
        programs += [program(name, "gateway_project.celery", name, level) for name in (WORKER, BEAT) if name in named]
    return programs

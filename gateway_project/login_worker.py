"""`python -m gateway_project.login_worker LEVEL`: waits until somebody is to be logged in to Lingma.

Then it becomes Celery's worker for that queue, which becomes this again when nothing has come for a while: a worker
takes 40 MB of its own and more, this a few, and a login is needed every few weeks.
"""

from __future__ import annotations

import importlib
import os
import socket
import sys
import time
from contextlib import closing

from gateway_project.lib.processes.life_signs import ALIVE, LIFE_FD
from gateway_project.lib.redis import redis_keys
from gateway_project.lib.redis.redis_url import Target, read

URL = "LOGIN_QUEUE"
"""The variable with the URL of Redis: to read all settings would cost more than to wait."""
KEY = f"{redis_keys.CELERY}logins"
EVERY_SEC = 1.0
WAIT_SEC = 2.0


def waiting(target: Target) -> bool:
    """Whether the queue has a task. Raise OSError or ValueError while Redis is away, or is none."""
    with closing(_connect(target)) as connection, connection.makefile("rwb") as stream:
        words: list[tuple[str, ...]] = [("LLEN", KEY)]
        if target.database:
            words.insert(0, ("SELECT", str(target.database)))
        if target.password:
            words.insert(0, ("AUTH", *([target.username] if target.username else []), target.password))
        stream.write(b"".join(map(_command, words)))
        stream.flush()
        answers = [stream.readline(1024) for _ in words]
    if not answers[-1].startswith(b":"):
        raise OSError(answers[-1].decode("utf-8", "replace").strip() or "it has closed the connection")
    return int(answers[-1][1:]) > 0


def _connect(target: Target) -> socket.socket:
    if target.path:
        found = socket.socket(socket.AF_UNIX)
        found.settimeout(WAIT_SEC)
        found.connect(target.path)
        return found
    found = socket.create_connection((target.host, target.port), WAIT_SEC)
    return found if target.tls is None else target.tls.context().wrap_socket(found, server_hostname=target.host)


def _command(words: tuple[str, ...]) -> bytes:
    parts = [each.encode() for each in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(each), each) for each in parts)


def main() -> None:
    level = sys.argv[1] if len(sys.argv) > 1 else "INFO"
    target, pipe = read(os.environ[URL]), os.environ.get(LIFE_FD, "")
    while True:
        # Not by `life_signs`, which takes the pipe for itself: the worker is to have it.
        if pipe:
            os.write(int(pipe), ALIVE)
        try:
            if waiting(target):
                break
        except (OSError, ValueError):
            pass  # every other process tells that Redis is away
        time.sleep(EVERY_SEC)
    # In this process: as a fork of the fork server it has the code loaded already.
    sys.argv = ["gateway_project.celery", "logins", f"--loglevel={level}"]
    importlib.import_module("gateway_project.celery.__main__").main()


if __name__ == "__main__":
    main()

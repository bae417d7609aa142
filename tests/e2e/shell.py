"""Python processes that run one piece of code after another: to start one for each takes a second of CPU."""

import atexit
import json
import subprocess
import threading
from pathlib import Path

from tests.prepared import Process

ROOT = Path(__file__).parents[2]
DJANGO = "import django; django.setup(); from django.db import connections; after = connections.close_all"
KEPT = 3
"""Tests look into one installation at a time, few into two."""

_kept: dict[tuple[str, str], "Shell"] = {}
_turn = threading.Lock()


class Shell:
    def __init__(self, environment, begin):
        self.process = Process(
            "tests.e2e.shell_loop", begin, cwd=ROOT, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def run(self, code, seconds=300.0):
        """What the code prints."""
        late = threading.Timer(seconds, self.process.kill)
        late.start()
        try:
            self.process.stdin.write(json.dumps(code) + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        finally:
            late.cancel()
            late.join()
        assert answer, f"the process ended with {self.process.wait()}"
        printed, failure = json.loads(answer)
        assert not failure, failure
        return printed.strip()

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


def once(environment, code):
    """Run code in a Django of its own, which knows nothing of what others have seen; return what it prints."""
    shell = Shell(environment, DJANGO)
    try:
        return shell.run(code)
    finally:
        shell.close()


def run(environment, code, begin=DJANGO):
    """Run code in a process that has begun with this in this environment, and is kept; return what the code prints."""
    environment.pop("PYTEST_CURRENT_TEST", None)  # another one for each test
    name = (begin, json.dumps(environment, sort_keys=True))
    with _turn:
        shell = _kept.pop(name, None)
        if shell is None or shell.process.poll() is not None:
            shell = Shell(environment, begin)
        _kept[name] = shell
        while len(_kept) > KEPT:
            _kept.pop(next(iter(_kept))).close()
        return shell.run(code)


@atexit.register
def close():
    while _kept:
        _kept.popitem()[1].close()

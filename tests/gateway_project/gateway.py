"""`make run`'s supervisor as a user sees it: a process with an output, an address and descendants."""

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import psutil

from tests.ports import free_port
from tests.prepared import Process
from tests.processes import command_line

ROOT = Path(__file__).parents[2]


class Gateway:
    """A supervisor on a data directory of its own. Use as a context: nothing of it survives.

    With a wrapper, such as `env`, it starts as it does for a user; without one its libraries have been loaded before.
    """

    def __init__(self, data_dir, *, wrapper=(), programs=(), cwd=ROOT, **variables):
        self.port = variables.pop("PORT", None) or free_port()
        environment = {name: value for name, value in os.environ.items() if name != "MAKELEVEL"}
        environment |= {"DATA_DIR": str(data_dir), "PORT": str(self.port), "DRAIN_SEC": "5", "LOG_LEVEL": "INFO"}
        environment |= variables
        options = {"cwd": cwd, "env": environment, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        if wrapper:
            command = [*wrapper, sys.executable, "-m", "gateway_project.supervise", *programs]
            self.process = subprocess.Popen(command, **options)
        else:
            self.process = Process("gateway_project.supervise", *programs, **options)
        self.lines = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        descendants = self.descendants()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        psutil.wait_procs(descendants, timeout=30)
        self._reader.join(30)
        self.process.stdout.close()
        self.process.stderr.close()

    def _read(self):
        for line in self.process.stdout:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()

    def until(self, pattern, count=1):
        """Wait for a line of the output that matches; return the match."""

        def found():
            return [match for line in self.lines if (match := re.search(pattern, line))]

        with self._changed:
            assert self._changed.wait_for(lambda: len(found()) >= count, timeout=90), self._said()
            return found()[count - 1]

    def _said(self):
        """What a failed wait shows; a process that has ended says on stderr why."""
        errors = self.process.stderr.read() if self.process.poll() is not None else ""
        return "\n".join([*self.lines, errors])

    def descendants(self):
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def descendant(self, *words):
        """The child whose command line holds all these words."""
        return next(one for one in self.descendants() if all(word in " ".join(command_line(one)) for word in words))

    def complete(self):
        """Wait until every process runs; return them."""
        self.until("Lingma gateway, ready")
        self.until(r"^worker .* ready")
        return self.descendants()

    def ended(self):
        """Wait for the end; return exit code and what was said on stderr."""
        code = self.process.wait(60)
        self._reader.join(30)
        return code, self.process.stderr.read()


def survivors(processes):
    """What those are called that still run a minute later, where all but a hung one have ended long since."""
    _, alive = psutil.wait_procs(processes, timeout=60)
    return [f"{each.pid} {command_line(each)}" for each in alive if each.is_running() and not is_zombie(each)]


def is_zombie(process):
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True

"""What is measured: the source itself, the typical gateway, ours. Each starts, says who serves, and stops for good."""

import http.client
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from tests.bench import processes

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT = 60
STOP_TIMEOUT = 15
KEY = "bench-key-0123456789abcdef"
LIMITED_KEY = "bench-key-with-limits-0123456789"
LIMITED = f"""
import django; django.setup()
from django.conf import settings
from accounts.models import ApiKey, Team
limits = {{"rpm": 10**8, "tpm": 10**9, "concurrency": 10**4, "requests_day": 10**8, "tokens_day": 10**9}}
key = ApiKey(name="limited", team=Team.objects.create(name="limited", **limits), **limits)
key.adopt({LIMITED_KEY!r}, settings.KEY_PEPPER)
key.save()
"""
SUPERVISOR = f"{shlex.quote(sys.executable)} -m gateway_project.supervise"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def get(port, path):
    """(status, body) of a GET; (0, b"") when nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()


def answers(port, path):
    """True when a GET of the path is answered with 200."""
    return get(port, path)[0] == 200


def clean_environment(**changes):
    """This environment without what would configure a gateway, plus the changes."""
    from gateway_project.env import Environment

    ours = {name.upper() for name in Environment.model_fields} | {"PROMETHEUS_MULTIPROC_DIR", "DJANGO_SETTINGS_MODULE"}
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    return kept | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"} | changes


class Target:
    """A tree of processes with one that serves HTTP on `port`."""

    name = ""
    kind = ""  # the target whose cases it takes part in, if not its own name
    root = ROOT
    ready_path = "/healthz"

    def __init__(self, directory):
        self.directory = directory / self.name
        self.directory.mkdir()
        self.roots = []
        self.port = 0
        self.serving = 0

    def command(self):
        raise NotImplementedError

    def start(self):
        self.port = free_port()
        main = self.launch(*self.command())
        deadline = time.monotonic() + START_TIMEOUT
        while not answers(self.port, self.ready_path):
            if main.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{self.name} did not start; the end of its output:\n{self.output()}")
            time.sleep(0.1)
        self.serving = self.server(main.pid)

    def server(self, root):
        """The process that serves: of those that share the listening socket the one furthest down."""
        found = processes.listeners(self.port, processes.descendants(root))
        if not found:
            raise SystemExit(f"{self.name}: nobody listens on port {self.port}")
        return found[-1]

    def launch(self, argv, environment):
        with (self.directory / "output").open("ab") as output:
            process = subprocess.Popen(argv, env=environment, cwd=self.root, stdin=subprocess.DEVNULL, stdout=output,
                                       stderr=subprocess.STDOUT, start_new_session=True)  # fmt: skip
        self.roots.append(process)
        return process

    def output(self):
        return (self.directory / "output").read_text(errors="replace")[-3000:]

    def key(self, case):
        """Which key the requests of a case carry."""
        return LIMITED_KEY if case.limited else KEY

    def pids(self):
        return [pid for root in self.roots for pid in processes.descendants(root.pid)]

    def source(self):
        """The process that sends the chunks."""
        return next((pid for pid in self.pids() if "tests.bench.source" in processes.name(pid)), 0)

    def acknowledged(self):
        """Share of its pushes that the source got an answer to; None when it pushed none."""
        port = processes.flags(self.source()).get("httpPort", "0")
        status, body = get(int(port), "/stats")
        stats = json.loads(body) if status == 200 else {"pushes": 0}
        return stats["acknowledged"] / stats["pushes"] if stats["pushes"] else None

    def stop(self):
        """Ask first, then kill what is left of the tree."""
        tree = {pid: processes.started(pid) for pid in self.pids()}
        for root in reversed(self.roots):
            root.terminate()
        deadline = time.monotonic() + STOP_TIMEOUT
        for root in self.roots:
            with suppress(subprocess.TimeoutExpired):
                root.wait(max(0.1, deadline - time.monotonic()))
        for pid, started in tree.items():
            if started and processes.started(pid) == started:
                os.kill(pid, signal.SIGKILL)
        for root in self.roots:
            root.wait()
        self.roots.clear()


def source_command(ws_port, http_port, directory):
    return [sys.executable, "-m", "tests.bench.source", "start", "--transportType=websocket",
            f"--workDir={directory}", f"--socketPort={ws_port}", f"--httpPort={http_port}"]  # fmt: skip


class NoGateway(Target):
    """The source asked directly."""

    name = "none"

    def command(self):
        return source_command(free_port(), self.port, self.directory), clean_environment()


class Typical(Target):
    """The typical gateway, with a source of its own."""

    name = "typical"

    def command(self):
        ws_port, http_port = free_port(), free_port()
        self.launch(source_command(ws_port, http_port, self.directory), clean_environment())
        while not answers(http_port, "/healthz"):
            if self.roots[0].poll() is not None:
                raise SystemExit(f"the source did not start:\n{self.output()}")
            time.sleep(0.05)
        argv = [sys.executable, "-m", "uvicorn", "tests.bench.typical:app", "--port", str(self.port),
                "--no-access-log", "--log-level", "warning"]  # fmt: skip
        return argv, clean_environment(LINGMA_URL=f"ws://127.0.0.1:{ws_port}")


class Ours(Target):
    """This gateway as `make run` starts it, with the source in the place of the Lingma executable."""

    name = "ours"
    ready_path = "/readyz"
    argv = SUPERVISOR
    has_limits = True

    def start(self):
        super().start()
        if self.has_limits:
            environment = self.command()[1] | {"DJANGO_SETTINGS_MODULE": "gateway_project.settings"}
            subprocess.run([sys.executable, "-c", LIMITED], cwd=self.root, env=environment, check=True)
            self.has_limits = False  # they are kept when it is started again

    def command(self):
        binary = self.directory / "Lingma"
        binary.write_text(
            f"#!/bin/sh\ncd {shlex.quote(str(ROOT))} || exit 1\nPYTHONPATH={shlex.quote(str(ROOT))}\n"
            f'export PYTHONPATH\nexec {shlex.quote(sys.executable)} -m tests.bench.source "$@"\n'
        )
        binary.chmod(0o755)
        settings = {"DATA_DIR": str(self.directory / "data"), "HOST": "127.0.0.1", "PORT": str(self.port),
                    "API_KEYS": KEY, "LINGMA_BIN": str(binary), "LINGMA_INSTANCES": "1", "WEB_PROCESSES": "1",
                    "MAX_IN_FLIGHT": "1000", "MAX_QUEUE": "10000", "DRAIN_SEC": "1"}  # fmt: skip
        return shlex.split(self.argv), clean_environment(**settings, PYTHONPATH=str(self.root))


class Before(Ours):
    """The gateway of another checkout, with the same source: what a change costs."""

    name = "before"
    kind = "ours"
    has_limits = False

    def key(self, case):
        return KEY


TARGETS = (NoGateway, Typical, Ours)

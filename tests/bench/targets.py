"""What is measured: each starts, says which of its processes does what, and stops for good."""

import http.client
import json
import os
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

from tests.bench import processes, seeds
from tests.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT = 120
STOP_TIMEOUT = 15
REST = 4  # s in which the parts of a gateway are watched while nothing happens
FOLLOWS = 6  # s
AT_REST = 0.1  # cores of all parts
SETTLE_TIMEOUT = 8  # s without a row more, until no more are waited for
KEY = "bench-key-0123456789abcdef"
SUPERVISOR = f"{shlex.quote(sys.executable)} -m gateway_project.supervise"


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


def ask(port, key):
    """One short chat; SystemExit when it is not answered with 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    body = json.dumps({"model": "org_auto", "messages": [{"role": "user", "content": "Hello."}]})
    connection.request("POST", "/v1/chat/completions", body, {"Authorization": f"Bearer {key}"})
    answer = connection.getresponse()
    if answer.status != 200:
        raise SystemExit(f"a first chat was answered with {answer.status}: {answer.read().decode()}")
    connection.close()


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
        self.at_rest = {}  # part -> CPU seconds a second, while it only waits
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

    def keys(self, case):
        """The keys that the requests of a case carry in turn."""
        return [KEY]

    def pids(self):
        return [pid for root in self.roots for pid in processes.descendants(root.pid)]

    def parts(self):
        """pid -> which part of the gateway it is. What serves is "web", also where it has no other parts."""
        return {pid: processes.part(processes.name(pid)) for pid in self.pids()} | {self.serving: "web"}

    def source(self):
        """The process that sends the chunks."""
        return next((pid for pid in self.pids() if processes.part(processes.name(pid)) == "source"), 0)

    def filed(self):
        """How many turns are in its books, if it keeps any."""
        return 0

    def settle(self, expected):
        """Wait until so many turns are in its books, as long as they get more. How many are."""
        return 0

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


class Bare(Target):
    """The bare proxy, with a source of its own."""

    name = "bare"

    def start_source(self):
        """(WebSocket port, HTTP port) of a source that has started."""
        ws_port, http_port = free_port(), free_port()
        self.launch(source_command(ws_port, http_port, self.directory), clean_environment())
        while not answers(http_port, "/healthz"):
            if self.roots[0].poll() is not None:
                raise SystemExit(f"the source did not start:\n{self.output()}")
            time.sleep(0.05)
        return ws_port, http_port

    def command(self):
        ws_port, _ = self.start_source()
        argv = [sys.executable, "-m", "uvicorn", "tests.bench.bare:app", "--port", str(self.port), "--loop", "uvloop",
                "--http", "httptools", "--no-access-log", "--log-level", "warning"]  # fmt: skip
        return argv, clean_environment(LINGMA_URL=f"ws://127.0.0.1:{ws_port}")


class LiteLLM(Bare):
    """LiteLLM's proxy, where it is installed, in front of the same source, which it asks in OpenAI's format."""

    name = "litellm"
    ready_path = "/health/liveliness"
    program = "litellm"  # on the PATH, or with its directory

    @classmethod
    def is_installed(cls):
        return shutil.which(cls.program) is not None

    def command(self):
        _, http_port = self.start_source()
        upstream = {"model": "openai/org_auto", "api_base": f"http://127.0.0.1:{http_port}/v1", "api_key": KEY}
        config = self.directory / "config.yaml"  # JSON is YAML
        config.write_text(
            json.dumps(
                {
                    "model_list": [{"model_name": "org_auto", "litellm_params": upstream}],
                    "general_settings": {"master_key": KEY},
                }
            )
        )
        argv = [self.program, "--config", str(config), "--host", "127.0.0.1", "--port", str(self.port),
                "--num_workers", "1", "--telemetry", "False"]  # fmt: skip
        directory = Path(shutil.which(self.program)).parent
        return argv, clean_environment(
            PATH=f"{directory}:{os.environ['PATH']}",
            PYTHONPATH="",
            LITELLM_LOG="ERROR",
            LITELLM_LOCAL_MODEL_COST_MAP="True",
        )


class Ours(Target):
    """This gateway as `make run` starts it, with the source in the place of the Lingma executable."""

    name = "ours"
    ready_path = "/readyz"
    argv = SUPERVISOR

    def __init__(self, directory, **settings):
        super().__init__(directory)
        self.settings = settings  # variables beside those that are set anyway
        self.has_limited_key = False

    @property
    def data(self):
        return self.directory / "data"

    def start(self):
        super().start()
        deadline, filed = time.monotonic() + START_TIMEOUT, 0
        while not filed:  # it serves before its worker files
            if time.monotonic() > deadline:
                raise SystemExit(f"{self.name} files no usage; the end of its output:\n{self.output()}")
            ask(self.port, KEY)
            filed = self.settle(1)
        self.at_rest = self.cores(REST)

    def cores(self, seconds):
        """part -> cores that it uses, in the mean of so many seconds from now on."""
        parts = self.parts()
        before = processes.snapshot(parts)
        time.sleep(seconds)
        after = processes.snapshot(parts)
        lasted = after["at"] - before["at"]
        return processes.by_part(
            {pid: (spent - before["cpu"][pid]) / lasted for pid, spent in after["cpu"].items()}, parts
        )

    def come_to_rest(self):
        """Wait until what follows the first turns of keys has been done, which begins some seconds after them."""
        time.sleep(FOLLOWS)
        deadline = time.monotonic() + START_TIMEOUT
        while sum(self.cores(1).values()) > AT_REST and time.monotonic() < deadline:
            pass

    def keys(self, case):
        if case.limited and not self.has_limited_key:
            self.has_limited_key = True  # kept when it is started again
            self.seed("limited_key")
        if case.limited:
            return [seeds.LIMITED_KEY]
        return [seeds.key(number) for number in range(case.keys)] or [KEY]

    def seed(self, what, *arguments):
        """Put something into the gateway, which may run: see `seeds`."""
        environment = self.command()[1] | {"DJANGO_SETTINGS_MODULE": "gateway_project.settings"}
        argv = [sys.executable, str(ROOT / "tests/bench/seeds.py"), what, *map(str, arguments)]
        subprocess.run(argv, cwd=self.root, env=environment, check=True, stdout=subprocess.DEVNULL)

    def filed(self):
        with closing(
            sqlite3.connect(f"file:{self.data / 'gateway.sqlite3'}?mode=ro", uri=True, timeout=30)
        ) as database:
            # Rows are counted by their ids: to count a million of them would take longer than to file a thousand.
            return database.execute("SELECT COALESCE(MAX(id), 0) FROM accounts_usage").fetchone()[0]

    def settle(self, expected):
        filed, moved = self.filed(), time.monotonic()
        while filed < expected and time.monotonic() < moved + SETTLE_TIMEOUT:
            time.sleep(0.1)
            before, filed = filed, self.filed()
            moved = time.monotonic() if filed > before else moved
        return filed

    def command(self):
        binary = self.directory / "Lingma"
        binary.write_text(
            f"#!/bin/sh\ncd {shlex.quote(str(ROOT))} || exit 1\nPYTHONPATH={shlex.quote(str(ROOT))}\n"
            f'export PYTHONPATH\nexec {shlex.quote(sys.executable)} -m tests.bench.source "$@"\n'
        )
        binary.chmod(0o755)
        settings = {"DATA_DIR": str(self.data), "HOST": "127.0.0.1", "PORT": str(self.port),
                    "API_KEYS": KEY, "LINGMA_BIN": str(binary), "LINGMA_INSTANCES": "1", "WEB_PROCESSES": "1",
                    "MAX_IN_FLIGHT": "1000", "MAX_QUEUE": "10000", "DRAIN_SEC": "1"}  # fmt: skip
        return shlex.split(self.argv), clean_environment(**settings | self.settings, PYTHONPATH=str(self.root))


class Before(Ours):
    """The gateway of another checkout, with the same source: what a change costs."""

    name = "before"
    kind = "ours"

    def keys(self, case):
        return [KEY]


TARGETS = (NoGateway, Bare, LiteLLM, Ours)

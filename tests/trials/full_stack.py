"""The whole gateway without containers, as `docker/` would run it.

PostgreSQL, Redis, three web processes on two machines behind nginx, worker and beat apart from them, and Prometheus,
which asks each machine.
"""

import http.client
import itertools
import json
import os
import shutil
import signal
import subprocess
import threading
import urllib.request
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import yaml

from bridge.pool.instances.work_dirs import in_use
from tests.e2e.formats import ANTHROPIC, OPENAI, exchange
from tests.e2e.installation import KEY, until
from tests.environment import start_redis
from tests.gateway_project.gateway import Gateway
from tests.ports import free_port
from tests.trials.machines import NODES, inside, namespaces, run
from tests.trials.postgres import Postgres

DOCKER = Path(__file__).parents[2] / "docker"
KEYS = (KEY, *(f"lgw_a-key-of-the-full-stack-{number}" for number in range(7)))
PORT = "8317"
METRICS_TOKEN = "what Prometheus shows"
SECRETS = {"SECRET_KEY": "d" * 40, "SECRET_KEYS": "r" * 40, "KEY_PEPPER": "p" * 40, "ADMIN_PASSWORD": "a good one"}


def _subnet(number):
    """Of one machine and this run: others may run at the same time."""
    return f"10.84.{(2 * os.getpid() + number) % 250}"


def _connect(names):
    for number, name in enumerate(names):
        cable = f"lgws{number}-{os.getpid()}"
        run("ip", "link", "add", cable, "type", "veth", "peer", "name", "cable", "netns", name)
        run("ip", "address", "add", f"{_subnet(number)}.254/24", "dev", cable)
        run("ip", "link", "set", cable, "up")
        run("ip", "-n", name, "address", "add", f"{_subnet(number)}.1/24", "dev", "cable")
        run("ip", "-n", name, "link", "set", "cable", "up")


@contextmanager
def networks():
    """Of each machine its address, what starts a process there, and where a proxy's requests come from."""
    with namespaces(_connect) as names:
        if names:
            yield [(f"{_subnet(at)}.1", inside(name), f"{_subnet(at)}.254") for at, name in enumerate(names)]
        else:
            # Not root, or no namespaces here: then the machines share their network, and differ in their addresses.
            yield [(address, (), "127.0.0.1") for address in ("127.0.0.2", "127.0.0.3")]


class Machine:
    """Web processes of one node; `start` and `stop` as often as one likes."""

    def __init__(self, directory, node, place, shared):
        self.address, self._launcher, proxy = place
        self.directory = directory / node
        self.node = node
        self._variables = shared | {
            "NODE_NAME": node, "HOST": self.address, "PORT": PORT, "TRUSTED_PROXIES": proxy,
            "WEB_PROCESSES": "2" if node == NODES[0] else "1", "METRICS_TOKEN": METRICS_TOKEN,
        }  # fmt: skip
        self.gateway = None

    def start(self):
        self.gateway = Gateway(self.directory, wrapper=self._launcher, programs=["web"], **self._variables)
        self.gateway.until("Lingma gateway, ready")

    def stop(self):
        """As an upgrade does: what runs ends first."""
        self.gateway.process.send_signal(signal.SIGTERM)
        return self.gateway.ended()

    def lose(self):
        """Power is cut."""
        processes = [psutil.Process(self.gateway.process.pid), *self.gateway.descendants()]
        for process in processes:
            if process.is_running():
                process.kill()
        psutil.wait_procs(processes, timeout=30)

    def end(self):
        if self.gateway is not None:
            self.gateway.__exit__()

    def control(self, **knobs):
        """Tell all of its simulators what to do from now on."""
        for instance in (self.directory / "instances").iterdir():
            if instance.is_dir() and not instance.name.startswith("."):
                draft = in_use(instance) / "draft.json"
                draft.write_text(json.dumps(knobs))
                draft.rename(in_use(instance) / "simulator.json")


class Stack:
    def __init__(self, directory, postgres, machines):
        self.postgres, self.machines = postgres, machines
        self.directory = directory
        self.port, self.prometheus_port = free_port(), free_port()
        self.base = f"http://127.0.0.1:{self.port}"

    def nginx(self):
        """The shipped configuration; machines have addresses here, where containers have a name."""
        text = (DOCKER / "nginx" / "nginx.conf").read_text()
        server = "server web:8317 resolve max_fails=0;"
        assert server in text
        servers = [server.replace("web:8317 resolve", f"{each.address}:{PORT}") for each in self.machines]
        text = text.replace(server, "\n".join(servers)).replace("resolver 127.0.0.11 valid=5s;", "")
        text = text.replace("listen 80;", f"listen 127.0.0.1:{self.port};")
        text = text.replace("/run/nginx.pid", f"{self.directory}/nginx.pid")
        file = self.directory / "nginx.conf"
        file.write_text(text)
        return ["nginx", "-e", f"{self.directory}/nginx.log", "-c", str(file), "-g", "daemon off;"]

    def prometheus(self):
        """The shipped configuration, with a shorter interval."""
        content = yaml.safe_load((DOCKER / "prometheus" / "prometheus.yml").read_text())
        token = self.directory / "metrics_token"
        token.write_text(METRICS_TOKEN)
        content["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        content["rule_files"] = [str(DOCKER / "prometheus" / name) for name in content["rule_files"]]
        (job,) = content["scrape_configs"]
        del job["dns_sd_configs"]
        job["authorization"]["credentials_file"] = str(token)
        job["static_configs"] = [{"targets": [f"{each.address}:{PORT}" for each in self.machines]}]
        file = self.directory / "prometheus.yml"
        file.write_text(yaml.safe_dump(content))
        return [
            "prometheus", f"--config.file={file}", f"--storage.tsdb.path={self.directory}/prometheus",
            f"--web.listen-address=127.0.0.1:{self.prometheus_port}", "--log.level=error",
        ]  # fmt: skip

    def asked_prometheus(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.prometheus_port}/api/v1/{path}", timeout=10) as answer:
            return json.load(answer)["data"]

    def control(self, **knobs):
        for machine in self.machines:
            machine.control(**knobs)


@contextmanager
def background(command):
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def full_stack(directory):
    """All of it, ready."""
    redis = start_redis(directory)
    with ExitStack() as entered:
        entered.callback(redis.wait)
        entered.callback(redis.terminate)
        postgres = entered.enter_context(Postgres())
        shared = {
            "DATABASE_URL": postgres.socket_url, "REDIS_URL": f"unix://{directory}/redis.sock",
            "API_KEYS": ",".join(KEYS), "LINGMA_SIMULATOR_FIRST_MS": "0", "LINGMA_SIMULATOR_DELAY_MS": "0", **SECRETS,
        }  # fmt: skip
        with Gateway(directory / "prepare", programs=["prepare"], **shared) as preparing:
            assert preparing.ended() == (0, "")
        back = entered.enter_context(
            Gateway(directory / "back", programs=["worker", "beat"], NODE_NAME="back", **shared)
        )
        places = entered.enter_context(networks())
        machines = [Machine(directory, node, place, shared) for node, place in zip(NODES, places, strict=True)]
        for machine in machines:
            entered.callback(machine.end)
            machine.start()
        back.until(r"^worker .* ready")
        stack = Stack(directory, postgres, machines)
        entered.enter_context(background(stack.nginx()))
        if shutil.which("prometheus"):
            entered.enter_context(background(stack.prometheus()))
        until(lambda: is_ready(stack.port))
        yield stack


def is_ready(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        return exchange(connection, "GET", "/readyz").status == 200
    except OSError:
        return False
    finally:
        connection.close()


class Load:
    """Turns without a pause: a client for each key, in both formats, every second one streamed. A context."""

    def __init__(self, port):
        self._port = port
        self._ends = threading.Event()
        self.outcomes = []
        """(what became of it, request id, what was seen)."""
        self._instances = set()
        self._threads = [threading.Thread(target=self._client, args=each) for each in enumerate(KEYS)]

    def _client(self, number, key):
        for turn in itertools.count():
            if self._ends.is_set():
                return
            self.outcomes.append(self._turn((OPENAI, ANTHROPIC)[number % 2], key, stream=bool(turn % 2)))

    def _turn(self, wire, key, *, stream):
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        body = wire.body("[[sim: text=whole chunks=4 delay_ms=30]] go on", stream=stream)
        try:
            answer = exchange(connection, "POST", wire.path, key=key, body=body)
        except (OSError, http.client.HTTPException) as exc:
            # With the head of a stream, and nothing of its end.
            began = stream and isinstance(exc, http.client.IncompleteRead)
            return ("broken" if began else "failed"), "", repr(exc)
        finally:
            connection.close()
        seen = answer.status, answer.body[-300:]
        if answer.status != 200:
            return "failed", "", seen
        self._instances.add(answer.headers["x-lingma-instance"])
        whole = answer.text == "whole" and answer.finish == wire.done
        return ("ok" if whole else "broken"), answer.headers["x-request-id"], "" if whole else seen

    def goes_on(self, turns=40):
        wanted = len(self.outcomes) + turns
        until(lambda: len(self.outcomes) >= wanted, seconds=120)

    def reaches(self, machine):
        """Wait until it takes turns: nginx tries one that was away again some seconds later."""
        self._instances.clear()
        until(lambda: any(each.startswith(machine.node) for each in self._instances.copy()), seconds=120)

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._ends.set()
        for thread in self._threads:
            thread.join(90)

    def of(self, *kinds):
        return [(what, seen) for what, _, seen in self.outcomes if what in kinds]

    @property
    def clients(self):
        return len(self._threads)

    @property
    def ids(self):
        return {id_ for what, id_, _ in self.outcomes if what == "ok"}


IS_THERE = bool(shutil.which("nginx")) and os.name == "posix"

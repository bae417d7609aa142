"""Gateways on data directories of their own: web processes and Redis as the supervisor starts them, without Celery."""

import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import msgspec
import psutil
import redis

from accounts.ledger.row import AMENDMENT, OPENING, UsageRow
from bridge.pool.instances.work_dirs import in_use
from tests.directories import copy
from tests.e2e import shell
from tests.e2e.formats import Answer, send
from tests.environment import start_redis
from tests.gateway_project.gateway import survivors
from tests.prepared import Process
from tests.processes import command_line

ROOT = Path(__file__).parents[2]
DEATH = ROOT / "gateway_project" / "lib" / "processes" / "process_death.py"
LAUNCHER = (sys.executable, "-I", "-S", str(DEATH), str(int(signal.SIGKILL)))

KEY = "lgw_test-key-of-alice-0001"
OTHER_KEY = "lgw_test-key-of-bob-00002"
REVOCABLE_KEYS = ("lgw_test-key-to-revoke-1", "lgw_test-key-to-revoke-2")
EXPIRED_KEY = "lgw_test-key-expired-0003"
METRICS_KEY = "lgw_test-key-metrics-00004"
KEYS = (KEY, OTHER_KEY, *REVOCABLE_KEYS, EXPIRED_KEY, METRICS_KEY)
LIMITED_KEYS = {
    "rpm": {"rpm": 1}, "tpm": {"tpm": 1}, "concurrency": {"concurrency": 1}, "flood": {"rpm": 1},
    "plain": {}, "gone": {}, "confined": {"allowed_models": "org_auto, claude-*"},
    "revoked": {}, "deleted": {}, "expiring": {}, "alone": {},
    "counting": {"rpm": 3}, "narrow": {"allowed_models": "org_auto"},
    "programs": {"rpm": 1}, "tokens": {"tpm": 2000}, "early": {"tpm": 3000}, "two": {"concurrency": 2},
    **{f"crash-{number}": {} for number in range(32)},
}  # fmt: skip
PASSWORD = "correct-horse-battery"

SIMULATOR = {
    "LINGMA_SIMULATOR_FIRST_MS": "0",
    "LINGMA_SIMULATOR_DELAY_MS": "0",
    "LINGMA_SIMULATOR_RECORD": "true",
}
# Tests provoke refusals and failures of instances that others use at once.
FAST = {**SIMULATOR, "DRAIN_SEC": "5", "LOG_LEVEL": "INFO", "LINGMA_COOL_MAX_SEC": "0"}


def until(look, seconds=45.0, every=0.02):
    """Ask until the answer is true; return it. Turns that are held on purpose last longer than it waits."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"{look} stayed {found!r} for {seconds} s"
        time.sleep(every)
    return found


def patiently(look, every=0.02):
    """As `until`, where services start one after the other: on a busy machine each takes its time."""
    return until(look, 120.0, every)


def environment(data_dir, **settings):
    """What a process of this installation sees."""
    return {
        **os.environ, **FAST, "DATA_DIR": str(data_dir), "PROMETHEUS_MULTIPROC_DIR": str(data_dir / "metrics"),
        "DJANGO_SETTINGS_MODULE": "gateway_project.settings", "PYTHONUNBUFFERED": "1", **settings,
    }  # fmt: skip


def django(data_dir, code, **settings):
    """Run code in a Django of this installation; return what it prints."""
    return shell.run(environment(data_dir, **settings), code)


SPECIAL_KEYS = f"""
import json
from datetime import timedelta
from django.conf import settings
from django.utils import timezone
from gateway_project.lib.secrets.key_secret import digest_of
from accounts.models import ApiKey, Team
key = lambda text: ApiKey.objects.filter(digest=digest_of(text, settings.KEY_PEPPER))
key({EXPIRED_KEY!r}).update(expires_at=timezone.now() - timedelta(minutes=1))
key({METRICS_KEY!r}).update(scopes="metrics")
key({KEY!r}).update(name="alice")
key({OTHER_KEY!r}).update(name="bob", team=Team.objects.create(name="core"))
for name, fields in {LIMITED_KEYS!r}.items():
    made = ApiKey(name=name, **fields)
    made.adopt("lgw_test-key-limited-" + name, settings.KEY_PEPPER)
    made.save()
ApiKey.objects.filter(name="gone").revoke()
ids = dict(ApiKey.objects.values_list("name", "pk")) | {{"team core": Team.objects.get().pk}}
(settings.DATA_DIR / "key-ids.json").write_text(json.dumps(ids))
"""


def rows_of(lines):
    """The rows of turns that have ended, by request id."""
    lines = [line for line in lines if line and not line.startswith((AMENDMENT, OPENING))]
    rows = [msgspec.structs.asdict(msgspec.json.decode(line, type=UsageRow)) for line in lines]
    return {row["request_id"]: row for row in rows}


def limited_key(name):
    """One of LIMITED_KEYS."""
    return f"lgw_test-key-limited-{name}"


def prepare(data_dir, *, special_keys=True, **settings):
    """A data directory as after a first start: database, secrets, keys, superuser."""
    (data_dir / "metrics").mkdir()
    server = start_redis(data_dir)
    try:
        env = environment(data_dir, API_KEYS=",".join(KEYS), ADMIN_PASSWORD=PASSWORD, **settings)
        with Process("gateway_project.supervise.prepare", cwd=ROOT, stdout=subprocess.DEVNULL, env=env) as preparing:
            assert preparing.wait(120) == 0
        if special_keys:
            django(data_dir, SPECIAL_KEYS, **settings)
    finally:
        server.terminate()
        server.wait()


class Gateway:
    """Web processes on one socket. Use as a context: nothing of it survives."""

    def __init__(self, data_dir, template, *, processes=1, wait=True, launcher=(), **settings):
        self.data_dir = copy(template, data_dir)
        self._settings = {"WEB_PROCESSES": str(processes), **settings}
        self._launcher = launcher  # what the command is given to, for limits of the host
        self._received = {}  # by file: how much of it has been read, and what that was
        self._rows, self._entries, self._last_entry = {}, 0, "0"  # what has been read of the ledger
        self._reading = threading.Lock()
        self._redis = start_redis(data_dir)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self._listener.getsockname()[1]
        self.processes = [self.start(number) for number in range(1, processes + 1)]
        if wait:
            self._wait()

    def _wait(self):
        try:
            patiently(lambda: send(self, "GET", "/readyz").status == 200)
        except BaseException:
            self.__exit__()  # a context that was never entered is not left either
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        family = [each for process in self.processes for each in self.family(process)]
        for process in self.processes:
            process.terminate()
        self.left_behind = survivors(family)
        for process in family:
            if process.is_running():
                process.kill()
        for process in self.processes:
            process.wait()
        self._listener.close()
        self._redis.terminate()
        self._redis.wait()

    def start(self, number, *inherited, **more):
        """Start a web process."""
        env = environment(self.data_dir, WEB_PROCESS=str(number), **self._settings, **more)
        with (self.data_dir / "output.log").open("ab") as output:
            options = {"cwd": ROOT, "env": env, "stdout": output, "stderr": output,
                       "pass_fds": [self._listener.fileno(), *inherited]}  # fmt: skip
            module = ("gateway_project.server", "--fd", str(self._listener.fileno()))
            if not self._launcher:
                return Process(*module, **options)
            command = [*self._launcher, *LAUNCHER, str(os.getpid()), sys.executable, "-m", *module]
            return subprocess.Popen(command, **options)

    # -- what can be seen ---------------------------------------------------------------------------------------

    def ask(self, wire, prompt, *, key=KEY, stream=False, **more) -> Answer:
        """One turn, to its end."""
        return send(self, "POST", wire.path, key=key, body=wire.body(prompt, stream=stream, **more))

    def output(self):
        """All that was logged."""
        return (self.data_dir / "output.log").read_text()

    def rows(self):
        """Usage rows that wait to be filed, by request id."""
        # First the spool, where rows go while Redis seems to be away: from there they come to Redis.
        spooled = self.spooled()
        return self._rows_in_redis() | rows_of(spooled)

    def spooled(self):
        """The lines of all files of the spool; one may be moved or sent on while one looks."""
        lines = []
        for path in (self.data_dir / "spool").glob("usage.jsonl*"):
            with suppress(FileNotFoundError):
                lines += path.read_bytes().split(b"\n")
        return lines

    def _rows_in_redis(self):
        """Each entry is read once: a shared gateway has thousands, and tests ask for theirs again and again."""
        with self._reading, self.redis() as client:
            fresh = client.xrange("lgw:usage", f"({self._last_entry}")
            if client.xlen("lgw:usage") != self._entries + len(fresh):  # some were taken out, or one came just now
                self._entries, self._rows = 0, {}
                fresh = client.xrange("lgw:usage")
            if fresh:
                self._last_entry = fresh[-1][0].decode()
                self._entries += len(fresh)
                self._rows |= rows_of(entry[b"row"] for _, entry in fresh)
            return self._rows.copy()

    def key_id(self, name):
        """The id of a key as rows have it."""
        return json.loads((self.data_dir / "key-ids.json").read_text())[name]

    def row(self, request_id):
        """The usage row of a turn, as soon as it is there."""
        return until(lambda: self.rows().get(request_id))

    def row_of_model(self, model):
        """The usage row of the turn that asked for this model: a name for turns whose answer nobody saw."""
        return until(lambda: next((row for row in self.rows().values() if row["model"] == model), None))

    def redis(self):
        """A connection to the gateway's Redis; close it."""
        return redis.Redis(unix_socket_path=str(self.data_dir / "redis.sock"))

    def received(self, instance="w1-i1"):
        """All messages the simulator has seen and sent."""
        path = self.work_dir(instance) / "received.jsonl"
        read, messages = self._received.get(path, (0, []))
        with path.open("rb") if path.exists() else io.BytesIO() as file:
            file.seek(read)
            fresh = file.read()
        end = fresh.rfind(b"\n") + 1
        messages += [json.loads(line) for line in fresh[:end].split(b"\n") if line]
        self._received[path] = (read + end, messages)
        return messages.copy()

    def asks(self, text, instance="w1-i1"):
        """The params of every question that holds this text."""
        asked = [each["params"] for each in self.received(instance) if each.get("method") == "chat/ask"]
        return [params for params in asked if text in params["questionText"]]

    def stops(self, text, instance="w1-i1"):
        """The `chat/stop` of the turns whose question holds this text."""
        ids = {params["requestId"] for params in self.asks(text, instance)}
        stops = [each for each in self.received(instance) if each.get("method") == "chat/stop"]
        return [each for each in stops if each["params"]["requestId"] in ids]

    def in_flight(self):
        """Turns that hold a place, by the heartbeats."""
        with self.redis() as client:
            beats = [client.get(key) for key in client.keys("lgw:instance:*")]
        return sum(json.loads(beat)["in_flight"] for beat in beats if beat)  # one may have expired meanwhile

    def work_dir(self, instance="w1-i1"):
        """Where an instance keeps its files."""
        return in_use(self.data_dir / "instances" / instance)

    def login(self, instance="w1-i1"):
        """The login that an instance has, as its file holds it; none where it is just being given another place."""
        try:
            return (self.work_dir(instance) / "cache" / "user").read_bytes()
        except FileNotFoundError:
            return b""

    def control(self, instance="w1-i1", **knobs):
        """Tell a simulator what to do from now on."""
        draft = self.work_dir(instance) / "draft.json"
        draft.write_text(json.dumps(knobs))
        draft.rename(self.work_dir(instance) / "simulator.json")

    @staticmethod
    def family(process):
        """A process and all that it has started."""
        try:
            parent = psutil.Process(process.pid)
            return [parent, *parent.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def restart_lingma(self, *instances):
        """Kill the processes of these instances, and wait until others are ready in their places."""
        killed = [self.lingma(each) for each in instances]
        for process in killed:
            process.kill()
        pids = {process.pid for process in killed}

        def is_back(instance):
            with self.redis() as client:
                beat = json.loads(client.get(f"lgw:instance:{instance}") or "{}")
            return beat.get("state") == "ready" and beat["pid"] not in pids

        patiently(lambda: all(map(is_back, instances)))

    def lingma(self, instance="w1-i1"):
        """The process of an instance."""
        found = [each for process in self.processes for each in self.family(process)]
        return next(each for each in found if f"--workDir={self.work_dir(instance)}" in command_line(each))

"""Where a trial plays: a gateway by its supervisor, and around it whatever its setup puts behind doors."""

import asyncio
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack, ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import redis

from tests.bench.targets import ROOT, clean_environment
from tests.directories import copy
from tests.ports import free_port
from tests.processes import command_line
from tests.trials.doors import Door
from tests.trials.postgres import Postgres

START_TIMEOUT = 60
STOP_TIMEOUT = 20
KEYS = {
    "plain": "lgw_trial-key-plain-00001",
    "narrow": "lgw_trial-key-narrow-0002",
    "paced": "lgw_trial-key-paced-00003",
    "fresh": "lgw_trial-key-fresh-00004",
}
REFUSED = {
    "tpm": {"tpm": 1},
    "requests_day": {"requests_day": 5},
    "tokens_day": {"tokens_day": 1},
    "model": {"allowed_models": "somebody-elses"},
    "paused": {"paused_at": "now"},
    "revoked": {"revoked_at": "now"},
    "expired": {"expires_at": "now"},
    "network": {"allowed_networks": "203.0.113.0/24"},
}
"""Keys that are refused, each for a reason of its own; some of them only after their first turns."""
KEYS |= {name: f"lgw_trial-key-{name}-00005" for name in REFUSED}
LIMITS = f"""
import django; django.setup()
from django.conf import settings
from django.utils import timezone
from gateway_project.lib.secrets.key_secret import digest_of
from accounts.models import ApiKey
key = lambda text: ApiKey.objects.filter(digest=digest_of(text, settings.KEY_PEPPER))
assert key({KEYS["narrow"]!r}).update(concurrency=1) == 1
assert key({KEYS["paced"]!r}).update(rpm=60) == 1
for text, fields in {[(KEYS[name], fields) for name, fields in REFUSED.items()]!r}:
    fields = {{name: timezone.now() if value == "now" else value for name, value in fields.items()}}
    assert key(text).update(**fields) == 1
"""
PARTS = {
    "web": "gateway_project.server",
    "instance": "bridge.simulator",
    "worker": "celery worker",
    "redis": "unixsocket",
}
"""By which words the command line of a part is known."""


@dataclass(frozen=True)
class Setup:
    """What kind of gateway a trial needs."""

    web: int = 1
    instances: int = 1
    redis: str = "embedded"  # or "door": one of its own, behind a door
    database: str = "sqlite"  # or "door": PostgreSQL, behind a door
    upstream: str = "own"  # or "door": attached simulators, each behind a door
    disk_mb: int = 0  # size of the disk that DATA_DIR is on; 0: the machine's own
    files: int = 0  # most open files of a process
    settings: tuple = ()

    def missing(self):
        """Why this machine cannot have it; "" when it can."""
        if self.disk_mb and (os.geteuid() or not shutil.which("mount")):
            return "a small disk needs root"
        if self.database == "door":
            from tests.trials.postgres import binaries

            return "" if binaries() else "PostgreSQL is not installed"
        return ""


def redis_binary():
    from gateway_project.embedded_redis import binary

    return binary()


def parts_of(command):
    """Which part of the gateway a command line is of; "" for none."""
    words = " ".join(word for word in command if not word.startswith("--loglevel"))
    if "celery" in words:
        return "worker" if "worker" in command else ""
    return next((name for name in ("web", "instance", "redis") if PARTS[name] in words), "")


class Template:
    """A data directory as after a first start, which stages copy; tables may be there. Use as a context."""

    def __init__(self, migrated=None):
        self._migrated = migrated
        self.root = Path(tempfile.mkdtemp(prefix="lgw-trial-"))
        self.directory = self.root / "d"

    def __enter__(self):
        self.directory.mkdir(mode=0o700)
        if self._migrated is not None:
            copy(self._migrated, self.directory)
        (self.directory / "metrics").mkdir()
        path = self.root / "redis.sock"
        server = subprocess.Popen([redis_binary(), "--port", "0", "--unixsocket", str(path), "--save", ""],
                                  cwd=self.root, stdout=subprocess.DEVNULL)  # fmt: skip
        env = clean_environment(DATA_DIR=str(self.directory), REDIS_URL=f"unix://{path}",
                                API_KEYS=",".join(KEYS.values()), DJANGO_SETTINGS_MODULE="gateway_project.settings",
                                PROMETHEUS_MULTIPROC_DIR=str(self.directory / "metrics"))  # fmt: skip
        try:
            for command in (["-m", "gateway_project.supervise.prepare"], ["-c", LIMITS]):
                subprocess.run([sys.executable, *command], cwd=ROOT, env=env, check=True, stdout=subprocess.DEVNULL)
        finally:
            end(server)
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.root, ignore_errors=True)


class Stage:
    """A running gateway. Use as an async context: nothing of it survives."""

    def __init__(self, setup, template):
        self.setup = setup
        self._template = template.directory
        self.port = free_port()
        self.root = Path(tempfile.mkdtemp(prefix="lgw-trial-"))
        self.data_dir = self.root / "d"
        self.postgres = self.redis_door = self.database_door = None
        self.upstream_doors, self.simulators = [], []
        self.silent = []  # sockets that a harm holds open
        self.aside = []  # tasks that a harm has left behind
        self.unanswered = []  # what a harm asked in vain
        self.process = None
        self._own_redis = None
        self._settings = {}
        self._things, self._doors = ExitStack(), AsyncExitStack()

    async def __aenter__(self):
        try:
            await self._build()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_):
        for each in self.silent:
            each.close()
        for each in self.aside:
            each.cancel()
        await asyncio.gather(*self.aside, return_exceptions=True)
        await asyncio.to_thread(self.stop)
        await self._doors.aclose()
        await asyncio.to_thread(self._things.close)
        shutil.rmtree(self.root, ignore_errors=True)

    async def _build(self):
        self.data_dir.mkdir(mode=0o700)
        if self.setup.disk_mb:
            await asyncio.to_thread(self._mount)
        shutil.copytree(self._template, self.data_dir, dirs_exist_ok=True)
        if self.setup.redis == "door":
            await asyncio.to_thread(self.start_redis)
            self.redis_door = await self._doors.enter_async_context(Door(str(self.root / "redis.sock")))
            self._settings["REDIS_URL"] = f"redis://127.0.0.1:{self.redis_door.port}/0"
        if self.setup.database == "door":
            self.postgres = await asyncio.to_thread(self._things.enter_context, Postgres())
            self.database_door = await self._doors.enter_async_context(Door(self.postgres.port))
            self._settings["DATABASE_URL"] = self.postgres.url.replace(
                str(self.postgres.port), str(self.database_door.port)
            )
        if self.setup.upstream == "door":
            await self._attach()
        await asyncio.to_thread(self._first_start)

    async def _attach(self):
        for number in range(self.setup.instances):
            port = free_port()
            command = [sys.executable, "-m", "bridge.simulator", "start", "--login=auto",
                       f"--workDir={self.root / f's{number}'}", f"--socketPort={port}", "--httpPort=0"]  # fmt: skip
            self.simulators.append(self._spawn(command, self.root / "simulators.log"))
            self.upstream_doors.append(await self._doors.enter_async_context(Door(port)))
        urls = [f"ws://127.0.0.1:{door.port}/" for door in self.upstream_doors]
        self._settings["LINGMA_ATTACH_URLS"] = ",".join(urls)

    def _mount(self):
        options = f"size={self.setup.disk_mb}m,mode=700"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.data_dir)], check=True)
        self._things.callback(subprocess.run, ["umount", "-l", str(self.data_dir)], check=True)

    def start_redis(self):
        """Start the Redis that stands behind the door."""
        path = self.root / "redis.sock"
        options = {"port": "0", "unixsocket": str(path), "dir": str(self.root), "appendonly": "yes", "save": "",
                   "maxmemory-policy": "noeviction", "loglevel": "warning"}  # fmt: skip
        command = [redis_binary(), *(part for name, value in options.items() for part in (f"--{name}", value))]
        self._own_redis = self._spawn(command, self.root / "redis.log")
        self._things.callback(end, self._own_redis)
        until(lambda: answers(path), 10, "Redis")

    def _spawn(self, command, output, limit=0):
        with output.open("ab") as file:
            return subprocess.Popen(
                command, cwd=ROOT, env=self.environment(), stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                start_new_session=True, preexec_fn=(lambda: limit_files(limit)) if limit else None,
            )  # fmt: skip

    def environment(self):
        env = clean_environment(
            DATA_DIR=str(self.data_dir), HOST="127.0.0.1", PORT=str(self.port), API_KEYS=",".join(KEYS.values()),
            WEB_PROCESSES=str(self.setup.web), LINGMA_INSTANCES=str(self.setup.instances), LOG_LEVEL="WARNING",
            KEEPALIVE_SEC="2", DRAIN_SEC="10", LINGMA_SIMULATOR_FIRST_MS="0", PYTHONDONTWRITEBYTECODE="1",
            DJANGO_SETTINGS_MODULE="gateway_project.settings", **self._settings, **dict(self.setup.settings),
        )  # fmt: skip
        env.pop("MAKELEVEL", None)  # under `make` a supervisor ends with who started it: here, a thread of a moment
        return env

    def _first_start(self):
        self.start()
        if self.postgres is not None:  # its keys were made just now, without limits
            subprocess.run([sys.executable, "-c", LIMITS], cwd=ROOT, env=self.environment(), check=True)
        until(lambda: self.pids("worker"), START_TIMEOUT, "Celery")

    # -- the gateway ----------------------------------------------------------------------------------------------

    @property
    def output(self):
        return self.root / "output.log"

    def start(self):
        """Start the supervisor and wait until the gateway is ready."""
        command = [sys.executable, "-m", "gateway_project.supervise"]
        self.process = self._spawn(command, self.output, self.setup.files)
        until(lambda: self._says_ready(), START_TIMEOUT, "the gateway", self.tail)

    def _says_ready(self):
        from tests.bench.targets import answers as answers_http

        if self.process.poll() is not None:
            raise SystemExit(f"the gateway ended:\n{self.tail()}")
        return answers_http(self.port, "/readyz")

    def stop(self):
        """Kill all of it: the ledger has been read, and how a gateway stops is a trial of its own."""
        family = self.family() if self.process is not None else []
        for each in family:
            with suppress(psutil.Error):
                each.kill()
        psutil.wait_procs(family, timeout=STOP_TIMEOUT)
        if self.process is not None:
            end(self.process)
        for each in self.simulators:
            end(each)

    def family(self):
        """The supervisor and all below it."""
        try:
            parent = psutil.Process(self.process.pid)
            return [parent, *parent.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def pids(self, part):
        """The processes of a part, those that are running."""
        if self.process is None:
            return []
        own = [each.pid for each in self.simulators] if part == "instance" else []
        if part == "redis" and self._own_redis is not None:
            own = [self._own_redis.pid]
        return own + [each.pid for each in self.family() if parts_of(command_line(each)) == part]

    def send(self, part, number, which=0):
        """Send a signal to one process of a part."""
        found = until(lambda: self.pids(part), 10, part)
        os.kill(found[which], number)

    def redis(self):
        """A connection to the server itself, around any door."""
        path = (self.root if self.setup.redis == "door" else self.data_dir) / "redis.sock"
        return redis.Redis(unix_socket_path=str(path), socket_timeout=5, socket_connect_timeout=2)

    # -- what can be seen -----------------------------------------------------------------------------------------

    def log_lines(self):
        return self.output.read_bytes().count(b"\n")

    def tail(self, size=3000):
        return self.output.read_text(errors="replace")[-size:]

    def weight(self):
        """(MiB, open files) of all web processes."""
        weights = self.weights().values()
        return round(sum(memory for memory, _ in weights) / (1 << 20), 1), sum(files for _, files in weights)

    def weights(self):
        """(bytes, open files) of each web process."""
        found = {}
        for pid in self.pids("web"):
            with suppress(psutil.Error):
                process = psutil.Process(pid)
                found[pid] = process.memory_info().rss, process.num_fds()
        return found


def limit_files(most):
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def answers(path):
    try:
        with redis.Redis(unix_socket_path=str(path)) as client:
            return client.ping()
    except redis.RedisError:
        return False


def end(process):
    """Kill it, unless it has ended, and reap it."""
    if process.poll() is None:
        process.kill()
    process.wait()


def until(look, seconds, what, more=lambda: ""):
    """Ask until the answer is true; return it. SystemExit when it does not become so."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > deadline:
            raise SystemExit(f"{what} was not there within {seconds:g} s\n{more()}")
        time.sleep(0.1)
    return found

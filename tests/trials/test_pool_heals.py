"""Three instances with a login each, 20 streams, and all that goes wrong with a pool: it heals, and no turn fails."""

import contextlib
import http.client
import itertools
import json
import os
import signal
import sys
import time
from dataclasses import dataclass, field

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from bridge.pool.instances.work_dirs import in_use
from tests.bridge.lingma.test_vsix import HERE, packed
from tests.bridge.logins.files import DAY, write_login
from tests.directories import copy
from tests.e2e.formats import ANTHROPIC, OPENAI, Answer, send
from tests.e2e.installation import FAST, KEY, ROOT, django, limited_key, until
from tests.environment import start_redis
from tests.gateway_project.gateway import Gateway
from tests.trials.clients import Clients

NAMES = ("w1-i1", "w1-i2", "w1-i3")
LIMIT = 8  # turns at once on an instance
STREAMS = 20
ENDING = "w1-i3"
OLD, NEW = "2.9.0", "2.11.7"
PROMPT = "[[sim: text=whole chunks=5 first_ms=200 delay_ms=200]] go on"
POISON = "[[sim: fault=crash after=0]] poison"
REFUSES = {"fault": "finish_code", "after": 0, "finish": 429}
PROGRAM = """#!/bin/sh
cd {root} && exec {python} -m bridge.simulator "$@" --renewal=never --version_string={version}
"""
SETUP = """
from pathlib import Path
from django.conf import settings
from django.contrib.auth.models import User
from accounts.api.tokens import issue
from bridge.fleet import logins, versions
from bridge.logins.bundle import from_folder
from bridge.models import InstanceOrder
from bridge.status.logins import LoginKind
folder = Path({folder!r})
rows = [versions.install(str(folder / f"{{version}}.vsix"), settings.DATA_DIR) for version in {versions!r}]
versions.make_default(rows[0])
for name in {names!r}:
    logins.import_credentials(name, LoginKind.PERSONAL_TOKEN, b"token-of-" + name.encode())
    login = logins.import_bundle(name, from_folder(folder / name))
    InstanceOrder.objects.create(name=name, login=login)
print(issue(User.objects.get(), None, []))
"""
LOGIN_ENDS = """
from pathlib import Path
from bridge.fleet import logins
from bridge.logins.bundle import from_folder
print(logins.import_bundle({name!r}, from_folder(Path({folder!r}))).generation)
"""


ATTEMPTS = """
import json
from bridge.models import LoginAttempt
rows = LoginAttempt.objects.select_related("login").order_by("pk")
print(json.dumps([(row.login.label, row.begun_at.timestamp(), row.ended_at.timestamp(), row.reason, row.result)
                  for row in rows]))
"""


@dataclass
class Turn:
    began: float
    ended: float = 0.0
    answer: Answer | None = None
    why: str = ""

    @property
    def good(self):
        return self.answer is not None and (self.answer.status, self.answer.text) == (200, "whole") and not self.broken

    @property
    def broken(self):
        """It had begun to stream, and ended with an error event."""
        return bool(self.answer and self.answer.streamed and self.answer.text and self.answer.error)

    @property
    def instance(self):
        return self.answer.headers.get("x-lingma-instance")  # none, where a sign of life came first


class Load(Clients):
    """Streams of both protocols without a pause, so many at once. Use as a context."""

    def __init__(self, gateway):
        super().__init__(STREAMS)
        self.turns = []
        self.began, self.epoch = time.monotonic(), time.time()
        self._gateway = gateway

    def ask(self, number):
        wire = (OPENAI, ANTHROPIC)[number % 2]
        for count in itertools.count():
            if self.ends.is_set():
                return
            turn = Turn(time.monotonic())
            body = wire.body(f"{PROMPT} {number}-{count}", stream=True)
            try:
                turn.answer = send(self._gateway, "POST", wire.path, key=KEY, body=body)
            except (OSError, http.client.HTTPException) as exc:
                turn.why = repr(exc)
            turn.ended = time.monotonic()
            self.turns.append(turn)

    def goes_on(self):
        """Until as many turns as there are streams have begun and ended."""
        now = time.monotonic()
        until(lambda: sum(turn.began > now for turn in list(self.turns)) >= STREAMS, seconds=90)


@dataclass
class Step:
    """One line of the timeline."""

    what: str
    where: tuple
    began: float
    healed: float
    turns: list = field(default_factory=list)

    def told(self, start):
        longest = max((turn.ended - turn.began for turn in self.turns), default=0.0)
        broken = sum(turn.broken for turn in self.turns)
        failed = sum(not turn.good and not turn.broken for turn in self.turns)
        return (
            f"{self.began - start:6.1f} s  {self.what:<20} {' '.join(self.where):<18} over after "
            f"{self.healed - self.began:4.1f} s: {len(self.turns):3} turns, {broken} ended with an error event, "
            f"{failed} failed, the longest {longest:.1f} s"
        )


class Pool:
    """A whole installation as its operator and its tests see it."""

    def __init__(self, gateway, data_dir, token, settings):
        self.gateway, self.data_dir, self._token, self._settings = gateway, data_dir, token, settings

    def _link(self):
        return redis.Redis(unix_socket_path=str(self.data_dir / "redis.sock"), retry=Retry(NoBackoff(), 0))

    def beat(self, name):
        """The last heartbeat; empty while there is none, or no Redis."""
        with contextlib.suppress(redis.RedisError), self._link() as link:
            return json.loads(link.get(f"lgw:instance:{name}") or "{}")
        return {}

    def is_ready(self, name):
        beat = self.beat(name)
        parts = [beat.get(part) for part in ("state", "mode", "login", "replacing", "not_replaced")]
        return parts == ["ready", "run", True, False, False]

    def is_whole(self):
        return all(map(self.is_ready, NAMES))

    def whole(self):
        now = time.time()  # a heartbeat from before tells what was
        until(lambda: self.is_whole() and all(self.beat(name).get("at", 0) > now for name in NAMES), seconds=90)

    def pids(self):
        return {name: self.beat(name)["pid"] for name in NAMES}

    def asked(self, text):
        """How often a service was asked what holds this text."""
        told = [path.read_text() for path in self.data_dir.glob("instances/*/received.jsonl")]
        lines = [line for each in told for line in each.splitlines() if text in line]
        return sum(json.loads(line).get("method") == "chat/ask" for line in lines)

    def versions(self):
        return [self.beat(name).get("version") for name in NAMES]

    def runs(self, *versions):
        return lambda: self.versions() == list(versions) and self.is_whole()

    def order(self, name, action, **more):
        answer = send(
            self.gateway, "POST", f"/api/instances/{name}/actions/", body={"action": action, **more},
            headers={"authorization": f"Token {self._token}"},
        )  # fmt: skip
        assert answer.status == 202, answer.body

    def control(self, name, **options):
        """Tell a simulator what to do from now on."""
        folder = in_use(self.data_dir / "instances" / name)
        (folder / "draft.json").write_text(json.dumps(options))
        (folder / "draft.json").rename(folder / "simulator.json")

    def django(self, code):
        return django(self.data_dir, code, **self._settings)


# -- harms: each is done, seen to be over, and says whose streams may have ended ---------------------------------------


def rate_limits(pool):
    pool.control("w1-i1", **REFUSES)
    until(lambda: pool.beat("w1-i1").get("state") == "cooling")
    pool.control("w1-i1")
    pool.whole()
    return ()


def killed(pool):
    before = pool.pids()
    os.kill(before["w1-i2"], signal.SIGKILL)
    until(lambda: pool.beat("w1-i2").get("pid") not in (None, 0, before["w1-i2"]))
    pool.whole()
    return ("w1-i2",)


def login_lost(pool):
    before = pool.beat("w1-i1")["login_generation"]
    pool.control("w1-i1", login="out")
    until(lambda: pool.beat("w1-i1").get("state") == "login_required")
    pool.control("w1-i1")
    until(lambda: pool.beat("w1-i1").get("login_generation", 0) > before, seconds=90)
    pool.whole()
    return ()


def hung(pool):
    before = pool.pids()
    os.kill(before["w1-i2"], signal.SIGSTOP)
    until(lambda: pool.beat("w1-i2").get("pid") not in (None, 0, before["w1-i2"]))
    pool.whole()
    return ("w1-i2",)


def drained(pool):
    pool.order("w1-i2", "drain")
    until(lambda: [pool.beat("w1-i2").get(name) for name in ("state", "in_flight")] == ["draining", 0])
    pool.order("w1-i2", "start")
    pool.whole()
    return ()


def rolled_out_and_back(pool):
    pool.order("w1-i1", "move", version=NEW)
    until(pool.runs(NEW, OLD, OLD), seconds=90)
    pool.order("all", "move", version=NEW)
    until(pool.runs(NEW, NEW, NEW), seconds=90)
    pool.order("all", "move", version=OLD)
    until(pool.runs(OLD, OLD, OLD), seconds=90)
    return ()


def redis_restarted(pool):
    before, at = pool.gateway.descendant("redis.sock"), time.time()
    before.kill()
    # What it had on disk is what was told before.
    until(lambda: all(pool.beat(name).get("at", 0) > at + 1 for name in NAMES), seconds=90)
    pool.whole()
    return ()


def poisoned(pool):
    before = pool.pids()
    body = OPENAI.body(POISON, stream=True)
    for _ in range(3):
        answer = send(pool.gateway, "POST", OPENAI.path, key=limited_key("crash-0"), body=body)
        if answer.status == 400:
            break
    assert (answer.status, b"exits when it is asked this" in answer.body) == (400, True)
    assert pool.asked(POISON) == 2
    pool.whole()
    after = pool.pids()
    return tuple(name for name in NAMES if after[name] != before[name])


def login_renewed(pool):
    """The one that had a minute to live has been made anew by itself, and lasts for days."""
    until(lambda: pool.beat(ENDING).get("login_expires_at", 0) > time.time() + DAY, seconds=90)
    pool.whole()
    return ()


HARMS = (rate_limits, killed, drained, hung, login_lost, rolled_out_and_back, redis_restarted,
         login_renewed, poisoned)  # fmt: skip

ENDS = {"killed": 1, "hung": 1, "poisoned": 2}
"""How many processes each of them ends at most."""


@pytest.fixture
def pool(tmp_path, template):
    """All three ready, each with a login of its own and on the old version."""
    folder, data_dir = tmp_path / "made", tmp_path / "data"
    folder.mkdir()
    for version in (OLD, NEW):
        program = PROGRAM.format(root=ROOT, python=sys.executable, version=version)
        (folder / f"{version}.vsix").write_bytes(packed({f"{version}/{HERE}/Lingma": program}, version))
    for name in NAMES:
        write_login(folder / name, name, f"machine-{name}")
    (folder / "Lingma").write_text(PROGRAM.format(root=ROOT, python=sys.executable, version=OLD))
    (folder / "Lingma").chmod(0o755)
    settings = {"LINGMA_BIN": str(folder / "Lingma"), "LINGMA_INSTANCES": "3", "LINGMA_COOL_MAX_SEC": "4",
                "LINGMA_START_TIMEOUT_SEC": "60", "QUEUE_TIMEOUT_SEC": "120", "KEEPALIVE_SEC": "5"}  # fmt: skip
    copy(template, data_dir, "metrics")
    server = start_redis(data_dir)
    token = django(data_dir, SETUP.format(folder=str(folder), versions=(OLD, NEW), names=NAMES), **settings).split()[-1]
    server.terminate()
    server.wait()
    with Gateway(data_dir, **FAST | settings) as gateway:
        gateway.complete()
        pool = Pool(gateway, data_dir, token, settings)
        until(pool.runs(OLD, OLD, OLD), seconds=90)
        yield pool


def done(pool, load, harm):
    """Do it, and let the load go on."""
    began = time.monotonic()
    where = harm(pool)
    step = Step(harm.__name__, where, began, time.monotonic())
    load.goes_on()
    return step


def sorted_in(steps, turns):
    """Each turn to the step during which it ended."""
    for each, after in itertools.zip_longest(steps, steps[1:]):
        end = after.began if after else float("inf")
        each.turns = [turn for turn in turns if each.began <= turn.ended < end]


def timeline(pool, steps, load):
    attempts = json.loads(pool.django(ATTEMPTS))
    told = [(each.began - load.began, each.told(load.began)) for each in steps]
    for name, at, ended, reason, result in attempts:
        began = at - load.epoch
        told.append((began, f"{began:6.1f} s  log in anew ({reason}) {name}: {result} after {ended - at:4.1f} s"))
    return "\n".join(text for _, text in sorted(told))


def test_pool_heals_under_load(pool, tmp_path):
    files = write_login(tmp_path / "carol", "carol", "machine-9", days=60 / DAY)

    def login_with_a_minute(pool):
        generation = int(pool.django(LOGIN_ENDS.format(name=ENDING, folder=str(files))))
        until(lambda: pool.beat(ENDING).get("login_generation", 0) >= generation, seconds=90)
        return ()

    with Load(pool.gateway) as load:
        load.goes_on()
        steps = [done(pool, load, harm) for harm in (login_with_a_minute, *HARMS)]
        pool.whole()
    sorted_in(steps, load.turns)
    print(timeline(pool, steps, load))
    print(f"{len(load.turns)} turns in {load.turns[-1].ended - load.began:.0f} s")
    failed = [turn for turn in load.turns if not turn.good and not turn.broken]
    assert [(turn.why, turn.answer and (turn.answer.status, turn.answer.body)) for turn in failed] == []
    # What streamed on a process that ends has an error event as its end; nothing else does.
    for each in steps:
        broken = [turn for turn in each.turns if turn.broken]
        assert {turn.instance for turn in broken} - {None} <= set(each.where), each.what
        assert len(broken) <= LIMIT * ENDS.get(each.what, 0), each.what

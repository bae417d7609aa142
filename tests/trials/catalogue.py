"""The trials, a few lines each. A new trial is a new entry here; a new kind of harm is a coroutine in `harms`."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.trials import harms
from tests.trials.load import Shape
from tests.trials.stage import REFUSED, Setup

USUAL = Shape()
ONE, THREE = Setup(), Setup(instances=3)
LOST_SOCKETS = ("IncompleteReadError", "ConnectionResetError", "BrokenPipeError")


def never(_turn, _moments):
    """Nothing may fail."""
    return False


def on_lost_sockets(turn, moments):
    """What was sent on connections of a process that was killed."""
    return turn.why in LOST_SOCKETS and moments.begun - 0.1 < turn.ended < moments.over + 3


def while_down(turn, moments):
    """What was sent to a gateway that had been told to stop."""
    return moments.begun - 0.1 < turn.ended < moments.over + 3 and turn.status in {0, 503}


def told_at_once(turn, moments):
    """What ran when the gateway was told once more to stop, and was told so."""
    return while_down(turn, moments) or (turn.began < moments.over and turn.status in {200, 502, 503})


@dataclass(frozen=True)
class Trial:
    """One harm to one kind of gateway, and what must hold."""

    name: str
    says: str
    harm: Callable
    setup: Setup = ONE
    shape: Shape = USUAL
    warm: float = 2.0
    seconds: float = 6.0  # of load after the harm
    calm: float = 3.0  # of these without trouble
    well: float = 5.0  # s within which the last trouble must be over
    slot: float = 15.0  # s within which no slot of a key is held by a turn that has ended
    may_fail: Callable = never
    may_break: bool = False  # streams that have told text may end with an error
    may_cut: bool = False  # streams may end without one
    may_miss: bool = False  # turns that a client saw begin and not end may have no row
    lines: int = 60  # most log lines
    at_least: int = 0  # turns; the load goes on until there are so many
    books: bool = False  # `reconcile_usage` says that all adds up, and each id has one row
    marks: tuple = ()  # numbers of turns after which processes are weighed; between the last two nothing may grow


WEB3 = Setup(web=3)
ATTACHED, ATTACHED3 = Setup(upstream="door"), Setup(upstream="door", instances=3)
REDIS = Setup(redis="door", instances=2)
POSTGRES = Setup(database="door", instances=2)
ATTACHED_WEB3 = Setup(upstream="door", instances=3, web=3)
KILLED = {"may_fail": on_lost_sockets, "may_break": True, "may_cut": True, "may_miss": True}
"""Of a web process: what its own sockets held is lost, and another one has to start."""
NOTICED = 6
"""s until a service is taken for hung. Then it is started anew, and whole answers of two seconds begin once more."""
CUTS = harms.cut("upstream", 4, 2.5)
"""A turn is tried three times: sooner one after the other, they would fail whatever lasts two seconds."""
BOOKS = harms.in_turn(
    harms.kill("web"), harms.kill_often("worker", 3, 1.3), harms.restart_redis(), harms.refuse("redis", 60),
    harms.lock_sqlite(60), harms.both(harms.kill("web", 1), harms.kill("worker")), harms.restart_redis(),
)  # fmt: skip

TRIALS = (
    Trial("long-run", "no harm, 12,000 turns", harms.none, THREE,
          Shape(clients=20, pause=0, turns=12_000, slow_share=101, rich=True), lines=5, marks=(2_000, 6_000, 12_000)),
    Trial("books", "10,000 turns, refusals of each kind: all parts killed, Redis away and SQLite locked for 60 s each",
          BOOKS, Setup(web=2, instances=2, redis="door"),
          Shape(slow_share=31, hang_up_share=9, refused=("", *REFUSED)), **KILLED | {"well": 30}, lines=600,
          at_least=10_000, books=True),
    Trial("places", "no harm, 22 long streams for 24 places of 3 processes", harms.none,
          Setup(web=3, settings=(("QUEUE_TIMEOUT_SEC", "1"),)),
          Shape(clients=22, limited=False, slow_only=True, hang_up_share=0), lines=5, seconds=9),
    Trial("kill-web", "kill -9 of the web process", harms.kill("web"), ONE, **KILLED, well=8),
    # It was 1.7 s at most in five runs and 7 s in one, by a single answer that took 5 s more: not explained yet.
    Trial("kill-web-of-3", "kill -9 of one of three web processes", harms.kill("web"), WEB3, **KILLED),
    Trial("kill-web-often", "kill -9 of a web process, five times", harms.kill_often("web", 5, 3), WEB3, **KILLED),
    Trial("hang-web-of-3", "SIGSTOP of one of three web processes", harms.stop_until_ended("web"), WEB3,
          **KILLED | {"well": 25}),
    Trial("kill-instance", "kill -9 of the only instance", harms.kill("instance"), ONE, may_break=True),
    Trial("kill-instance-of-3", "kill -9 of one of three", harms.kill("instance"), THREE, may_break=True),
    Trial("kill-instance-web-3", "kill -9 of one, three web processes", harms.kill("instance"), WEB3, may_break=True),
    Trial("hang-instance", "SIGSTOP of the only instance", harms.stop("instance"), ONE, may_break=True,
          well=NOTICED + 6),
    Trial("hang-instance-of-3", "SIGSTOP of one of three", harms.stop("instance"), THREE, may_break=True,
          well=NOTICED + 4),
    Trial("hang-instance-web-3", "SIGSTOP of one, three web processes", harms.stop("instance"), WEB3, may_break=True,
          well=NOTICED + 4),
    Trial("cut-upstream", "connections to the service reset, four times", CUTS, ATTACHED, may_break=True, well=1),
    Trial("cut-upstream-of-3", "the same with three services", CUTS, ATTACHED3, may_break=True, well=1),
    Trial("cut-upstream-web-3", "the same with three web processes", CUTS, ATTACHED_WEB3, may_break=True, well=1),
    Trial("hole-upstream", "the service's network silent for 12 s", harms.blackhole("upstream", 12), ATTACHED,
          may_break=True),
    Trial("away-upstream", "the service away for 10 s", harms.refuse("upstream", 10), ATTACHED, may_break=True),
    Trial("poison", "a prompt that kills the service, every 2 s", harms.poison(5, 2), Setup(instances=2),
          may_break=True),
    Trial("kill-redis", "kill -9 of Redis", harms.kill("redis"), THREE),
    Trial("kill-redis-web-3", "kill -9 of Redis, three web processes", harms.kill("redis"), WEB3),
    Trial("stop-redis", "SIGSTOP of Redis for 15 s", harms.pause("redis", 15), THREE),
    Trial("cut-redis", "connections to Redis reset, five times", harms.cut("redis", 5, 1), REDIS),
    Trial("hole-redis", "Redis' network silent for 12 s", harms.blackhole("redis", 12), REDIS),
    Trial("full-redis", "Redis full for 10 s", harms.full_redis(10), REDIS),
    Trial("read-only-redis", "Redis a replica for 10 s", harms.read_only_redis(10), REDIS),
    Trial("hole-postgres", "PostgreSQL's network silent for 20 s", harms.blackhole("database", 20), POSTGRES,
          seconds=15),
    Trial("cut-postgres", "connections to PostgreSQL reset, five times", harms.cut("database", 5, 1), POSTGRES),
    Trial("restart-postgres", "PostgreSQL restarted", harms.restart_postgres(), POSTGRES),
    Trial("lock-sqlite", "SQLite locked for 10 s", harms.lock_sqlite(10), THREE),
    Trial("full-disk", "DATA_DIR's disk full for 12 s", harms.fill_disk(12), Setup(disk_mb=96, instances=2)),
    Trial("silence", "1,100 silent connections, 512 descriptors", harms.silence(5), Setup(files=512, instances=2)),
    Trial("kill-worker", "kill -9 of the Celery worker, the scheduler with it", harms.kill("worker"), THREE),
    Trial("restart", "SIGTERM while busy, and a new start", harms.restart(), THREE, may_fail=while_down),
    Trial("stop-twice", "SIGTERM twice while busy, and a new start", harms.stop_twice(), THREE,
          may_fail=told_at_once, may_break=True),
)  # fmt: skip
BY_NAME = {trial.name: trial for trial in TRIALS}

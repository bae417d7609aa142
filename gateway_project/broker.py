"""How Celery's processes wait for a Redis that is away: tried each second, logged once."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from typing import Any, Final

import redis
from celery.app.amqp import AMQP
from celery.exceptions import CPendingDeprecationWarning
from celery.signals import after_task_publish, task_received, worker_ready
from django.conf import settings
from kombu import Connection
from kombu.exceptions import KombuError
from kombu.transport import redis as redis_transport

from gateway_project.lib import degraded
from gateway_project.lib.processes import life_signs
from gateway_project.lib.redis.redis_client import connect
from gateway_project.lib.redis.redis_fitness import refusal

RETRY_SEC: Final = 1
WAIT_SEC: Final = 2.0
PATIENCE_SEC: Final = 5
"""How long a process that is neither worker nor scheduler, such as the doctor, waits for a connection."""
TROUBLES: Final = (redis.RedisError, KombuError, OSError)
THEIR_TROUBLES: Final = {"SchedulingError", "RestartFreqExceeded"}
"""By name: their modules are the scheduler's own."""
LOGGERS: Final = (
    "celery.beat", "celery.worker.consumer.consumer", "celery.worker.request", "kombu.connection",
    "kombu.transport.redis",
)  # fmt: skip


class BrokerChannel(redis_transport.Channel):
    """kombu's own, which after the end of its connection raises what the worker takes for a bug, and ends."""

    def _connparams(self, asynchronous: bool = False) -> Any:
        # A task that has just ended is acknowledged here; it is done, and comes again as it was never taken off.
        if self.connection.client is None:
            raise redis.ConnectionError("the connection of this channel is closed")
        return super()._connparams(asynchronous)  # type: ignore[misc]  # kombu has no types


class BrokerTransport(redis_transport.Transport):
    Channel = BrokerChannel


class BrokerConnection(Connection):
    """Tried each second while Redis is away or takes no tasks; kombu's own pauses grow up to 30 s."""

    def _ensure_connection(
        self,
        errback: Callable[..., Any] | None = None,
        max_retries: int | None = None,
        interval_start: int = RETRY_SEC,
        interval_step: int = 0,
        interval_max: int = RETRY_SEC,
        callback: Callable[..., Any] | None = None,
        reraise_as_library_errors: bool = True,
        timeout: int | None = None,
    ) -> Any:
        # Celery's own processes name one of the three. A caller that names none would wait without end.
        if errback is None and max_retries is None and timeout is None:
            timeout = PATIENCE_SEC
        first = min(interval_start, RETRY_SEC)
        # The steps are fixed here: the caller's would lengthen the pause up to 30 s.
        return super()._ensure_connection(
            errback, max_retries, first, 0, RETRY_SEC, callback, reraise_as_library_errors, timeout
        )

    def get_transport_cls(self) -> type[Any]:
        transport: type[Any] = super().get_transport_cls()
        return BrokerTransport if transport is redis_transport.Transport else transport

    def _connection_factory(self) -> Any:
        life_signs.alive()  # a worker that searches its broker does nothing else
        # Else a worker would connect to a replica or a full server, fail at the first write, and connect again at once.
        with connect(settings.REDIS_URL, WAIT_SEC) as client:
            if why := refusal(client):
                raise redis.ConnectionError(why)
        return super()._connection_factory()


class Broker(AMQP):
    """Celery's own, but for the connection."""

    Connection = BrokerConnection


class LogOnce(logging.Filter):
    """Turns what Celery and kombu log of a broker that is away, each second and with traces, into a degraded mode."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let through what is about something else than the broker."""
        trouble = _trouble(record)
        if trouble is None:
            return True
        degraded.begin("tasks", " ".join(str(trouble).split()))
        return False


class EndOnConnection(logging.Filter):
    """Takes the worker's line about its connection as the end of the trouble."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let the line through unless it ends a trouble: then the mode's own line is enough."""
        if not degraded.is_on("tasks"):
            return True
        degraded.end("tasks")
        return False


def _trouble(record: logging.LogRecord) -> object:
    # What is only information is no trouble, whatever it quotes.
    if record.levelno < logging.WARNING:
        return None
    # This logger puts the error into the text; the others pass it as an argument or as the exception.
    if record.name == "kombu.transport.redis":
        return record.getMessage()
    raised = record.exc_info[1] if record.exc_info else None
    arguments = record.args if isinstance(record.args, tuple) else ()
    return next((each for each in (raised, *arguments) if _is_trouble(each)), None)


def _is_trouble(value: object) -> bool:
    return isinstance(value, TROUBLES) or type(value).__name__ in THEIR_TROUBLES


def log_broker_once() -> None:
    """Install the filters. To be called when logging has been set up."""
    for name in LOGGERS:
        logging.getLogger(name).addFilter(LogOnce())
    logging.getLogger("celery.worker.consumer.connection").addFilter(EndOnConnection())


@worker_ready.connect
def expect_losses(**_: Any) -> None:
    """Silence a warning about a default that may change; else it comes with each loss of the connection."""
    warnings.filterwarnings("ignore", category=CPendingDeprecationWarning, module="celery.worker")


@task_received.connect
@after_task_publish.connect
def came_through(**_: Any) -> None:
    """A task went to the broker or came from it, so it works. kombu reports no reconnection of its own."""
    degraded.end("tasks")

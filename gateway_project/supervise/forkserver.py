"""The fork server: loads the code of all processes once, and makes each of them by a fork of itself.

It starts no thread and opens nothing, so that a fork is as good as a new process. What it has loaded is shared by all.
"""

import argparse
import gc
import importlib
import os
import select
import socket
import sys
from collections.abc import Sequence

import msgspec

from gateway_project.lib.processes import console, heap, life_signs, preloading, process_title
from gateway_project.supervise.forked import Request, become, run_module

LARGEST = 1 << 16
"""Bytes of a request."""
MOST_DESCRIPTORS = 64
MODULE = "gateway_project.supervise.forkserver"
PREPARE = "gateway_project.supervise.prepare"

APPS = (PREPARE, "django.db.models.sql.compiler", "gateway_project.lib.redis.redis_client",
        "gateway_project.lib.redis.redis_fitness", "gateway_project.log_formatters",
        "gateway_project.log_handler")  # fmt: skip
WEB = ("bridge.http.routing", "bridge.runtime.process", "channels.routing", "django.contrib.sessions.backends.db",
       "django.core.asgi", "gateway_project.server.__main__", "gateway_project.server.bodies",
       "gateway_project.server.pages", "whitenoise.storage")  # fmt: skip
PEERS = ("bridge.peers.client", "bridge.peers.peers")
UVICORN = ("gateway_project.server.uvicorn_server", "uvicorn.lifespan.on", "uvicorn.loops.uvloop")
CELERY = ("accounts.ledger.flusher", "billiard.dummy", "billiard.pool", "celery.app.amqp", "celery.app.control",
          "celery.app.events", "celery.app.log", "celery.apps.beat", "celery.apps.worker",
          "celery.concurrency.thread", "celery.events", "celery.worker.autoscale",
          "celery.worker.components", "celery.worker.consumer", "celery.worker.consumer.delayed_delivery",
          "celery.worker.strategy", "gateway_project.beat", "gateway_project.broker",
          "gateway_project.celery.__main__", "kombu.transport.redis")  # fmt: skip
"""What they import late, too: what is imported after a fork is no fork's in common."""

Asked = tuple[Request, list[int]]


def load_apps() -> None:
    """What all processes need, and all that the preparation does."""
    from gateway_project.env import load
    from gateway_project.lib.prometheus_values import install_fast_values

    load.cache_clear()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway_project.settings")
    install_fast_values()
    import django
    from django.conf import settings

    console.served = False
    django.setup()
    # Once for all: to configure it touches each logger there is, which would copy 3 MiB in each fork.
    settings.LOGGING_CONFIG = None
    _import(APPS)


def load_console() -> None:
    """The pages of the console, which other processes than the web processes need not wait for."""
    from django.apps import apps

    console.served = True
    apps.get_app_config("admin").ready()


def load_web() -> None:
    """The web process, but for the application itself: that reads the static files, which are being collected."""
    from django.conf import settings

    _import([*WEB, settings.ROOT_URLCONF, *settings.MIDDLEWARE])
    if settings.ENV.has_peers:
        _import(PEERS)
    # daphne brings a loop along, which each process needs for itself.
    if settings.ENV.gateway_server == "uvicorn":
        _import(UVICORN)


def load_celery() -> None:
    """The worker and the scheduler."""
    from gateway_project.celery import app

    _import(CELERY)
    app.loader.import_default_modules()
    app.finalize()


def _import(names: Sequence[str]) -> None:
    """Import these modules; of a name that is a class, the one it stands in."""
    for name in names:
        module, _, last = name.rpartition(".")
        importlib.import_module(module if last[0].isupper() else name)


STAGES = (load_apps, load_console, load_web, load_celery)
NEEDS = {PREPARE: 1}
"""Stages of loading before a module can run; all, where it does not stand here."""
SHARED = ("DATA_DIR", "PROMETHEUS_MULTIPROC_DIR")
"""Variables that all processes have alike."""


def serve(control: socket.socket) -> Request:
    """Make processes until the supervisor is gone. Returns in a process that was made."""
    # What is loaded reads settings, and the first request has those that the supervisor makes.
    waiting = [_receive(control)]
    os.environ.update({name: waiting[0][0].environment[name] for name in SHARED})
    for loaded, load in enumerate(STAGES, 1):
        load()
        if loaded == len(STAGES):
            heap.fill_holes()
        while select.select([control], [], [], 0)[0]:
            waiting.append(_receive(control))
        later = []
        for asked in waiting:
            if NEEDS.get(asked[0].module, len(STAGES)) > loaded:
                later.append(asked)
            elif (made := fork(control, asked)) is not None:
                return made
        waiting = later
    life_signs.ready()
    while (made := fork(control, _receive(control))) is None:
        pass
    return made


def _receive(control: socket.socket) -> Asked:
    data, descriptors, _, _ = socket.recv_fds(control, LARGEST, MOST_DESCRIPTORS)
    if not data:
        os._exit(0)
    return msgspec.json.decode(data, type=Request), descriptors


def fork(control: socket.socket, asked: Asked) -> Request | None:
    """Make a process; return its request there, None here."""
    request, descriptors = asked
    if (others := len(os.listdir("/proc/self/task")) - 1) > 0:
        sys.stderr.write(f"cannot fork: {others} threads run here\n")
        os._exit(1)
    gc.freeze()  # forks do not look through it, so they go on sharing it
    between = os.fork()
    if between == 0:
        # Twice: a process whose parent ends becomes the supervisor's child, which waits for it as for any other.
        if os.fork() != 0:
            os._exit(0)
        control.close()
        become(request, descriptors)
        return request
    for descriptor in descriptors:
        os.close(descriptor)
    os.waitpid(between, 0)
    return None


def run(control: socket.socket) -> None:
    """Be the fork server; in a fork, be what was asked for, and return."""
    process_title.show([sys.executable, "-m", MODULE, f"--fd={control.fileno()}"])
    preloading.active = True
    gc.disable()  # nothing of what is loaded goes away
    run_module(serve(control))


def main() -> None:
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}")
    parser.add_argument("--fd", type=int, required=True, help="where requests come in")
    run(socket.socket(fileno=parser.parse_args().fd))


if __name__ == "__main__":
    main()

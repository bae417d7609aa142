"""Processes that begin with the libraries of the gateway loaded: to import those is most of the CPU that a start takes.

A process that has imported them, and what of the gateway reads no setting, forks itself for each process that is asked
for. From there on it is as with `python -m MODULE`: the module imports the rest, which reads its own environment.
"""

import atexit
import contextlib
import ctypes
import functools
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from gateway_project.supervise import forked
from tests import simulators

ROOT = Path(__file__).parents[1]
LIBRARIES = """
    billiard.pool celery.app.amqp celery.app.control celery.app.log celery.apps.beat celery.apps.worker
    celery.concurrency.thread celery.worker.consumer.delayed_delivery celery.worker.strategy channels.generic.http
    channels.routing cron_descriptor crontab cryptography.fernet dj_database_url django.contrib.admin.decorators
    django.core.asgi django.core.management.commands.migrate django.db.backends.sqlite3.base
    django.db.migrations.executor django.db.models.sql.compiler django.test.signals django.views.i18n
    drf_spectacular.utils fido2.server h11 hiredis httptools jsonschema kombu.transport.redis msgspec PIL.Image
    prometheus_client.multiprocess pydantic_settings qrcode redis.asyncio rest_framework.exceptions
    rest_framework.serializers unfold.dataclasses uvicorn.lifespan.on uvicorn.protocols.http.httptools_impl
    uvicorn.protocols.websockets.websockets_sansio_impl uvloop websockets.client websockets.server whitenoise.middleware
    whitenoise.storage yaml
"""
"""None of them reads settings or variables when it is imported: Django, which has none yet, would refuse."""
OURS = """
    accounts.alerts.post accounts.content.redaction bridge.lingma.dialects.a.dialect bridge.reply.reader
    bridge.simulator.cli bridge.simulator.service bridge.wire.formats gateway_project.env gateway_project.log_formatters
    gateway_project.log_handler gateway_project.server.uvicorn_server sessions_store.normalize
"""
"""Parts of the gateway of which the same is true: the fork server, too, loads them before it knows what forks are."""
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
LARGEST = 1 << 20
"""Bytes of a request."""
PATIENCE = 60.0


class Process(subprocess.Popen):
    """As `Popen` of `python -m MODULE ARGUMENT…`, or of `python -c CODE ARGUMENT…`; it also dies with us."""

    def __init__(self, what, *arguments, flag="-m", **options):
        super().__init__([sys.executable, flag, what, *arguments], **options)

    def _execute_child(self, args, _executable, _preexec, _close, pass_fds, cwd, env, _info, _flags, _shell, *pipes):
        p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite, *_ = pipes
        streams = [number if pipe == -1 else pipe for number, pipe in enumerate((p2cread, c2pwrite, errwrite))]
        self.pid = _forked(args, env, cwd, streams, pass_fds)
        self._child_created = True
        self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)


def run(what, *arguments, timeout=60, **options):
    """As `subprocess.run` of it, with text as its output."""
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with Process(what, *arguments, **streams, **options) as process:
        try:
            output, errors = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def manage(*arguments, timeout=120, **options):
    """As `subprocess.run` of `manage.py ARGUMENT…`, with text as its output."""
    return run("manage", *map(str, arguments), timeout=timeout, cwd=ROOT, **options)


def run_code(code, *arguments, **options):
    """As `subprocess.run` of `python -c CODE ARGUMENT…`, with text as its output; it has to end with 0."""
    done = run(code, *arguments, flag="-c", **options)
    assert done.returncode == 0, done.stderr
    return done


_turn = threading.Lock()


def _forked(command, environment, directory, streams, inherited):
    """The pid of a child of ours."""
    environment = os.environ if environment is None else environment
    request = {"command": command, "environment": dict(environment), "directory": str(directory or ROOT),
               "inherited": list(inherited), "parent": os.getpid()}  # fmt: skip
    answer, theirs = socket.socketpair()
    with answer, _turn, _adopting():
        with theirs:
            descriptors = [theirs.fileno(), *streams, *inherited]
            socket.send_fds(_server(), [json.dumps(request).encode()], descriptors)
        answer.settimeout(PATIENCE)
        pid = answer.recv(4)
    assert pid, "nothing was forked"
    return int.from_bytes(pid)


@contextlib.contextmanager
def _adopting():
    """The process between the server and a fork of it ends at once, and the fork becomes a child of ours."""
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
    try:
        yield
    finally:
        libc.prctl(PR_SET_CHILD_SUBREAPER, 0)


@functools.cache
def _server():
    """Where requests go."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.prepared", str(theirs.fileno())],
            cwd=ROOT, env=environment | {"PYTHONUNBUFFERED": "1"}, pass_fds=[theirs.fileno()],
        )  # fmt: skip

    @atexit.register
    def end():
        ours.close()
        process.wait()

    return ours


def _serve(control):
    """Fork until nobody asks any more. Returns in a fork: what it has to be."""
    for name in f"{LIBRARIES} {OURS}".split():
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # a fork that looked through what is loaded would copy all of it
    while True:
        request, descriptors, *_ = socket.recv_fds(control, LARGEST, 64)
        if not request:
            sys.exit()
        if (between := os.fork()) == 0:
            if os.fork() != 0:
                os._exit(0)
            control.close()
            return json.loads(request), descriptors
        for each in descriptors:
            os.close(each)
        os.waitpid(between, 0)


def _become(request, descriptors):
    """Be the process that was asked for, up to the first line of its code."""
    answer, *streams = descriptors
    while os.getppid() != request["parent"]:
        time.sleep(0.0005)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.write(answer, os.getpid().to_bytes(4))
    os.close(answer)
    os.chdir(request["directory"])
    os.environ.clear()
    os.environ.update(request["environment"])
    from prometheus_client import values

    from gateway_project.lib.processes import process_title

    # The one choice that a library makes by a variable, when it is imported.
    values.ValueClass = values.get_value_class()
    forked.take(streams, (0, 1, 2, *request["inherited"]))
    simulators.fork_them()
    process_title.show(request["command"])
    _, flag, what, *sys.argv[1:] = request["command"]
    return flag, what


def _run(flag, what):
    """Be `python FLAG WHAT` to its end, but take apart nothing of what is loaded: that would copy all of it."""
    code = 0
    try:
        if flag == "-c":
            exec(what, {"__name__": "__main__"})
        else:
            runpy.run_module(what, run_name="__main__", alter_sys=True)
    except SystemExit as exc:
        code = forked.exit_code(exc)
    forked.end(code)


if __name__ == "__main__":
    _run(*_become(*_serve(socket.socket(fileno=int(sys.argv[1])))))

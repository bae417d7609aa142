"""A fork of the fork server becomes the process that was asked for, as if it had been started by the supervisor."""

import atexit
import gc
import importlib
import importlib.util
import io
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NoReturn

import msgspec

from gateway_project.lib.processes import life_signs, preloading, process_death, process_title

STARTED = b"1"
"""The supervisor knows the process, and waits for its end."""
ADOPTED_SEC = 10.0
"""Far more than the moment between the end of our parent and our having another."""


class Request(msgspec.Struct, frozen=True):
    """A process to be made. With it come descriptors: for the answer, standard output and error, and `inherited`."""

    module: str
    """Runs as with `python -m`; has a function `main`."""
    command: Sequence[str]
    """As `ps` shows it; what follows the module are its arguments."""
    environment: dict[str, str]
    """Variables beyond those of the fork server."""
    inherited: Sequence[int]
    """The numbers under which the process finds its descriptors."""
    supervisor: int
    """The pid of whom it dies with."""

    @property
    def arguments(self) -> Sequence[str]:
        return self.command[self.command.index(self.module) + 1 :]


def become(request: Request, descriptors: Sequence[int]) -> None:
    """Turn into it; end when the supervisor does not want it any more."""
    answer, *streams = descriptors
    life_signs.leave()
    os.setsid()
    _belong_to(request.supervisor)
    _report(answer)
    take(streams, (1, 2, *request.inherited))
    # Metrics ask it for their files, so it comes first.
    os.environ.update(request.environment)
    process_title.show(request.command)
    preloading.active = False
    gc.enable()
    _see_environment()


def _belong_to(supervisor: int) -> None:
    """Our parent, a fork too, is ending; the supervisor takes whom it leaves behind, and then we die with it."""
    deadline = time.monotonic() + ADOPTED_SEC
    while os.getppid() != supervisor:
        if time.monotonic() > deadline:
            os._exit(1)
        time.sleep(0.0005)
    die_with(supervisor)


def die_with(parent: int) -> None:
    """Get SIGKILL when it ends."""
    if not process_death.get_signal(signal.SIGKILL, parent):
        os._exit(1)


def use_streams(output: int) -> None:
    """Write to this descriptor, at once as with PYTHONUNBUFFERED, and read nothing."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(output, number)
        bare, before = open(number, "wb", 0, closefd=False), getattr(sys, name)  # noqa: SIM115 - as long as we live
        setattr(sys, name, io.TextIOWrapper(bare, before.encoding, before.errors, write_through=True))
    os.close(output)


def _report(answer: int) -> None:
    """Tell the supervisor our pid, and begin only when it has taken note: it may have given up on us."""
    with socket.socket(fileno=answer) as supervisor:
        try:
            supervisor.settimeout(ADOPTED_SEC)
            supervisor.sendall(os.getpid().to_bytes(4))
            known = supervisor.recv(1)
        except OSError:
            known = b""
        if known != STARTED:
            os._exit(1)


def take(descriptors: Sequence[int], numbers: Sequence[int]) -> None:
    """Move descriptors to these numbers."""
    # First out of the way: a number that is wanted may be that of another one.
    first_free = max(numbers) + 1
    moved = []
    for descriptor in descriptors:
        while (copy := os.dup(descriptor)) < first_free:
            pass
        moved.append(copy)
    os.closerange(3, first_free)
    for descriptor, number in zip(moved, numbers, strict=True):
        os.dup2(descriptor, number)
    os.closerange(first_free, max(*moved, *descriptors) + 1)


def _see_environment() -> None:
    """Read again what was read before the fork from variables that are our own."""
    from gateway_project import log_handler
    from gateway_project.env import load
    from gateway_project.lib import prometheus_values

    # In its place: reading all of it again writes to pages of memory that are shared as long as nobody does.
    load().__dict__["web_process"] = int(os.environ.get("WEB_PROCESS", "1"))
    prometheus_values.begin()
    log_handler.begin()


def run_module(request: Request) -> NoReturn:
    """Run the module, as `python -m` does, and end. What is loaded is not taken apart: that would copy all of it."""
    code = 1
    try:
        _main_of(request)()
        code = 0
    except SystemExit as exc:
        code = exit_code(exc)
    except BaseException:  # noqa: BLE001 - an edge: Python prints what nobody has caught
        sys.excepthook(*sys.exc_info())
    end(code)


def end(code: int) -> NoReturn:
    """As at any end of Python: threads first, then what has asked to be called. But nothing is taken apart."""
    threading._shutdown()  # type: ignore[attr-defined]  # as multiprocessing ends its forks
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _main_of(request: Request) -> Callable[[], None]:
    name = request.module
    spec = importlib.util.find_spec(name)
    if spec is not None and spec.submodule_search_locations is not None:
        name = f"{name}.__main__"
    module = importlib.import_module(name)
    sys.argv = [str(module.__file__), *request.arguments]
    main: Callable[[], None] = module.main
    return main


def exit_code(exc: SystemExit) -> int:
    if exc.code is None or isinstance(exc.code, int):
        return exc.code or 0
    sys.stderr.write(f"{exc.code}\n")
    return 1

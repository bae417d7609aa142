"""The web process: the ASGI application under uvicorn or daphne, on sockets inherited from the supervisor."""

import argparse
import signal
import socket
import sys

from django.utils.module_loading import import_string

from gateway_project.env import Environment, SettingError, load
from gateway_project.lib.processes import life_signs
from gateway_project.server.collector import settle
from gateway_project.server.connections import raise_descriptor_limit

APPLICATION = "gateway_project.asgi:application"


def started() -> None:
    """Report that the process serves, and set the garbage collector for serving."""
    life_signs.serve()
    settle()


def serve_with_uvicorn(listeners: list[socket.socket], env: Environment) -> None:
    """Serve until SIGTERM, then let running streams go on for DRAIN_SEC."""
    from gateway_project.server.uvicorn_server import Server

    Server(APPLICATION, env, started).run(listeners)


def serve_with_daphne(listeners: list[socket.socket], env: Environment) -> None:
    """The same under daphne: dearer per chunk, without lifespan and with bounds on bodies alone; Channels ships it."""
    raise_descriptor_limit()
    from gateway_project.server.daphne_server import serve

    serve(import_string(APPLICATION.replace(":", ".")), listeners, env, started)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m gateway_project.server")
    parser.add_argument("--fd", type=int, required=True, action="append", help="descriptor of a listening socket")
    # A signal's default action would end the process without its atexit handlers, which stop Lingma.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    listeners = [socket.socket(fileno=each) for each in parser.parse_args().fd]
    for listener in listeners:
        # Else Lingma's processes would keep the port open after we are gone.
        listener.set_inheritable(False)
    try:
        env = load()
    except SettingError as exc:
        sys.exit(f"lingma-gateway: {exc}")
    # Only the chosen server is imported: daphne brings twisted's reactor along, which wants the loop for itself.
    serve = serve_with_daphne if env.gateway_server == "daphne" else serve_with_uvicorn
    serve(listeners, env)


if __name__ == "__main__":
    main()

"""The web process: the ASGI application under uvicorn or daphne, on a socket inherited from the supervisor."""

import argparse
import gc
import signal
import socket
import sys
import time
from typing import Any

from gateway_project.connections import raise_descriptor_limit
from gateway_project.env import Environment, SettingError, load

APPLICATION = "gateway_project.asgi:application"


def settle() -> None:
    """Take what start-up made out of the collector's sight, and collect less often: a measured 8 % of CPU a chunk."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)


def serve_with_uvicorn(listener: socket.socket, env: Environment) -> None:
    """Serve until SIGTERM, then let running streams go on for DRAIN_SEC."""
    from gateway_project.uvicorn_server import Server

    Server(APPLICATION, env, settle).run([listener])


def serve_with_daphne(listener: socket.socket, env: Environment) -> None:
    """The same under daphne: dearer per chunk, without lifespan and without our bounds; the one that Channels ships."""
    raise_descriptor_limit()
    from daphne.server import Server
    from twisted.internet import reactor

    from gateway_project.asgi import application

    server = Server(
        application,
        endpoints=[f"fd:fileno={listener.detach()}"],
        signal_handlers=False,
        http_timeout=None,
        application_close_timeout=10,
        ready_callable=settle,
        verbosity=0,
        server_name="",
    )
    loop: Any = reactor  # twisted types it as a module

    def stop(*_: object) -> None:
        loop.callFromThread(drain, server, loop, time.monotonic() + env.drain_sec)

    signal.signal(signal.SIGTERM, stop)
    server.run()


def drain(server: Any, reactor: Any, deadline: float) -> None:
    """Accept no more, wait for the running requests until the deadline, stop."""
    from twisted.internet.tcp import Port

    for port in [reader for reader in reactor.getReaders() if isinstance(reader, Port)]:
        port.stopListening()  # type: ignore[no-untyped-call]  # twisted is typed in part
    running = [one for one in server.connections.values() if one.get("application_instance")]
    if running and time.monotonic() < deadline:
        reactor.callLater(0.2, drain, server, reactor, deadline)
    else:
        reactor.stop()


def main() -> None:
    """Serve on the inherited descriptor."""
    parser = argparse.ArgumentParser(prog="python -m gateway_project.server")
    parser.add_argument("--fd", type=int, required=True, help="descriptor of the listening socket")
    # A signal's default action would end the process without its atexit handlers, which stop Lingma.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    listener = socket.socket(fileno=parser.parse_args().fd)
    listener.set_inheritable(False)
    try:
        env = load()
    except SettingError as exc:
        sys.exit(f"lingma-gateway: {exc}")
    serve = serve_with_daphne if env.gateway_server == "daphne" else serve_with_uvicorn
    serve(listener, env)


if __name__ == "__main__":
    main()

"""The web process: the ASGI application under uvicorn or daphne, on a socket inherited from the supervisor."""

import argparse
import asyncio
import gc
import signal
import socket
import sys
import time
from typing import Any

from gateway_project.env import Environment, SettingError, load

APPLICATION = "gateway_project.asgi:application"
IDLE_CONNECTION_SEC = 75  # longer than the pools of clients and reverse proxies, so that they close first


def settle() -> None:
    """Take what start-up made out of the collector's sight, and collect less often: a measured 8 % of CPU a chunk."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)


def serve_with_uvicorn(listener: socket.socket, env: Environment) -> None:
    """Serve until SIGTERM, then let running streams go on for DRAIN_SEC."""
    import uvicorn

    from gateway_project.http_protocol import CorkedHttpProtocol

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            settle()

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            from bridge.runtime import end_turns

            # Turns that are still running just before the time is up get an ending; the rest uvicorn only cuts.
            asyncio.get_running_loop().call_later(env.drain_sec * 0.95, end_turns)
            await super().shutdown(sockets)

    config = uvicorn.Config(
        APPLICATION,
        loop="uvloop",
        http=CorkedHttpProtocol,
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        log_level="warning",
        server_header=False,
        proxy_headers=bool(env.trusted_proxies),
        forwarded_allow_ips=env.trusted_proxies,
        backlog=2048,
        timeout_keep_alive=IDLE_CONNECTION_SEC,
        timeout_graceful_shutdown=env.drain_sec,  # type: ignore[arg-type]  # it is only given to wait_for
    )
    Server(config).run([listener])


def serve_with_daphne(listener: socket.socket, env: Environment) -> None:
    """The same under daphne: dearer per chunk, without lifespan; kept as the alternative that Channels ships."""
    from daphne.server import Server
    from twisted.internet import reactor

    from gateway_project.asgi import application

    server = Server(
        application,
        endpoints=[f"fd:fileno={listener.detach()}"],
        signal_handlers=False,
        http_timeout=None,
        proxy_forwarded_address_header="X-Forwarded-For" if env.trusted_proxies else None,
        proxy_forwarded_proto_header="X-Forwarded-Proto" if env.trusted_proxies else None,
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

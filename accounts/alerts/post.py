"""One POST to an address that an operator has entered, which may lead to what only the gateway can reach.

The host is resolved once, every address it has must be public unless the settings say otherwise, and exactly one of
these is connected to. One deadline is for everything; redirects are not followed, and little of an answer is read.
"""

from __future__ import annotations

import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable
from functools import cache
from typing import Final, NamedTuple

import h11

from accounts.alerts.formats import Call
from gateway_project.lib.public_addresses import is_public
from gateway_project.lib.web_url import BadUrl, Target, parse

MOST_ANSWER: Final = 65_536
PORTS: Final = frozenset(range(1, 65_536))
Resolve = Callable[[str, int], list[str]]


class PostFailed(Exception):
    """The message is for operators."""


def resolve(host: str, port: int) -> list[str]:
    """All addresses of a host, in the order to try them. Raise OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class PostOptions(NamedTuple):
    """How far a POST may go."""

    private: bool = False
    """Also to private and loopback addresses."""
    seconds: float = 10.0
    resolve: Resolve = resolve


class _Deadline:
    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds. Raise TimeoutError when there are none."""
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


def post(call: Call, options: PostOptions) -> tuple[int, bytes]:
    """Status and the beginning of the answer. Raise PostFailed."""
    deadline = _Deadline(options.seconds)
    try:
        target = parse(call.url, PORTS)
        addresses = _addresses(target, options, deadline)
        with _connect(target, addresses, deadline) as peer:
            return _exchange(peer, target, call, deadline)
    except BadUrl as exc:
        raise PostFailed(str(exc)) from None
    except TimeoutError:
        raise PostFailed(f"no answer within {options.seconds:g} s") from None
    except (OSError, h11.ProtocolError) as exc:
        raise PostFailed(f"it could not be reached: {type(exc).__name__}") from None


def _addresses(target: Target, options: PostOptions, deadline: _Deadline) -> list[str]:
    found: queue.Queue[list[str]] = queue.Queue()

    def look_up() -> None:
        try:
            found.put(options.resolve(target.host, target.port))
        except OSError:
            found.put([])

    # In a thread: no name server knows our deadline.
    threading.Thread(target=look_up, name="resolver", daemon=True).start()
    try:
        addresses = found.get(timeout=deadline.left)
    except queue.Empty:
        raise TimeoutError from None
    if not addresses:
        raise PostFailed("its host has no address")
    # All of them: with one private address among them, a second look-up would decide which one is used.
    if not options.private and not all(map(is_public, addresses)):
        raise PostFailed("its host has a private address (ALERT_PRIVATE_WEBHOOKS allows that)")
    return addresses


def _connect(target: Target, addresses: list[str], deadline: _Deadline) -> socket.socket:
    """To an address that was checked; the name is not looked up again."""
    problem: OSError = OSError("no address")
    for address in addresses:
        try:
            peer = socket.create_connection((address, target.port), timeout=deadline.left)
            # The certificate is checked against the name, though an address is dialled.
            # The handshake ends by the deadline too: the socket keeps the timeout that it was connected with.
            return _trusted().wrap_socket(peer, server_hostname=target.host) if target.secure else peer
        except TimeoutError:
            raise
        except OSError as exc:
            problem = exc
    raise problem


def _exchange(peer: socket.socket, target: Target, call: Call, deadline: _Deadline) -> tuple[int, bytes]:
    http = h11.Connection(h11.CLIENT)
    peer.settimeout(deadline.left)
    peer.sendall(b"".join(http.send(event) or b"" for event in _request(target, call)))
    status, body = 0, bytearray()
    # All that is wanted of an answer is its code, so little of it is read, however much comes.
    while len(body) < MOST_ANSWER:
        event = http.next_event()
        if event is h11.NEED_DATA:
            # Before each read: a receiver that sends a byte now and then would never time out.
            peer.settimeout(deadline.left)
            http.receive_data(peer.recv(MOST_ANSWER))
        elif isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body += event.data
        elif not isinstance(event, h11.InformationalResponse):
            break
    return status, bytes(body[:MOST_ANSWER])


def _request(target: Target, call: Call) -> list[h11.Event]:
    headers = {
        "Host": target.authority, "User-Agent": "lingma-gateway", "Accept-Encoding": "identity",
        "Connection": "close", "Content-Length": str(len(call.body)), **call.headers,
    }  # fmt: skip
    request = h11.Request(method="POST", target=target.path, headers=list(headers.items()))
    return [request, h11.Data(data=call.body), h11.EndOfMessage()]


@cache
def _trusted() -> ssl.SSLContext:
    """Reading the system's certificates takes a while, so they are read once."""
    return ssl.create_default_context()

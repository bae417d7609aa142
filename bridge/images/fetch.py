"""Fetches an image from a URL of a client's choice, which may be an attempt to reach what only the gateway can reach.

A host is resolved once, every address it has must be public, and exactly one of these is connected to. Time, size and
redirects are bounded; no proxy, no cookie, no credential and no encoding of the content takes part.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from functools import cache, partial

import h11
import msgspec

from gateway_project.lib.fair_line import FairThreads
from gateway_project.lib.public_addresses import is_public
from gateway_project.lib.web_url import BadUrl, Target, parse, redirected

CHUNK = 65536
MOST_HEAD = 32768
MOST_HINTS = 16
"""Answers before the answer, such as 103 Early Hints."""
FREE_PIECES = 1024
LEAST_PIECE = 512
"""Bytes: a body comes in pieces that are as large on average, beyond the free ones. A packet has more; reading one-byte
chunks as fast as a host can send them would take all the time of the process."""
PIECES_IN_A_ROW = 32
"""So many that have come already are read, then others are served."""
LONGEST_WAIT = 10.0  # seconds, for a thread that resolves
REDIRECTS = frozenset({301, 302, 303, 307, 308})

PRIVATE_AFTER = 0.5
"""Seconds: a host without a public address is refused after a multiple of these. Whether it exists is nobody's
business, nor how soon a name server knows."""

_resolvers = FairThreads("resolver", threads=16, per_key=2)  # a slow name server holds a thread for half a minute


async def resolve(host: str, port: int, key: int = 0) -> list[str]:
    """All addresses of a host, in the order to try them; `key` is who asks. Raise OSError."""
    lookup = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    found = await _resolvers.run(key, lookup, LONGEST_WAIT)
    return [str(address[0]) for *_, address in found]


class FetchOptions(msgspec.Struct, frozen=True):
    """How far a fetch may go. `seconds` is for all of it, redirects included."""

    seconds: float = 10.0
    redirects: int = 3
    ports: frozenset[int] = frozenset({80, 443})
    resolve: Callable[[str, int, int], Awaitable[list[str]]] = resolve
    """Host, port and key to addresses."""
    is_allowed: Callable[[str], bool] = is_public
    authorities: str | None = None
    """File with the certificates to trust; None: the system's."""


class FetchFailed(Exception):
    """The message is for the client: it says nothing of the network the gateway stands in."""


class Fetcher:
    """`get(url, key)` is all."""

    def __init__(self, options: FetchOptions, max_bytes: int) -> None:
        self._options = options
        self._max_bytes = max_bytes

    async def get(self, url: str, key: int = 0) -> bytes:
        """The body behind the URL, for this key. Raise FetchFailed."""
        try:
            # One limit for everything: limits for each step could be used one after the other.
            async with asyncio.timeout(self._options.seconds):
                return await self._follow(parse(url, self._options.ports), key)
        except BadUrl as exc:
            raise FetchFailed(str(exc)) from None
        except TimeoutError:
            raise FetchFailed(f"it could not be fetched within {self._options.seconds:g} s") from None
        # No reason is given: it would tell a client which hosts and ports exist in the operator's network.
        except (OSError, h11.RemoteProtocolError):
            raise FetchFailed("it could not be fetched") from None

    async def _follow(self, target: Target, key: int) -> bytes:
        for _ in range(self._options.redirects + 1):
            result = await self._ask(target, key)
            if isinstance(result, bytes):
                return result
            # Every hop is checked like the first URL: a public host may redirect to a private one.
            target = redirected(target, result, self._options.ports)
        raise FetchFailed(f"it is redirected more than {self._options.redirects} times")

    async def _ask(self, target: Target, key: int) -> bytes | str:
        reader, writer = await self._connect(target, await self._addresses(target, key))
        try:
            return await self._exchange(target, reader, writer)
        finally:
            # Not `close()`: the peer could keep the socket open by not reading.
            writer.transport.abort()

    async def _addresses(self, target: Target, key: int) -> list[str]:
        now = asyncio.get_running_loop().time
        began = now()
        try:
            addresses = await self._options.resolve(target.host, target.port, key)
        # A TimeoutError is an OSError, but it means the fetch's own limit and is reported as such.
        except TimeoutError:
            raise
        except OSError:
            addresses = []
        # All of them: with one private address among them, a second look-up would decide which one is used.
        if not addresses or not all(map(self._options.is_allowed, addresses)):
            # Up to the next multiple: the time of the answer must not show whether the name exists.
            await asyncio.sleep(PRIVATE_AFTER - (now() - began) % PRIVATE_AFTER)
            raise FetchFailed("its host has no public address")
        return addresses

    async def _connect(self, target: Target, addresses: list[str]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """To an address that was checked; the name is not looked up again."""
        trusted = _trusted(self._options.authorities) if target.secure else None
        # The certificate is checked against the name, though an address is dialled.
        name = target.host if target.secure else None
        problem: OSError = OSError("no address")
        for address in dict.fromkeys(addresses):
            try:
                return await asyncio.open_connection(address, target.port, ssl=trusted, server_hostname=name)
            except OSError as exc:
                problem = exc
        raise problem

    async def _exchange(
        self, target: Target, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bytes | str:
        http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MOST_HEAD)
        for event in (_request(target), h11.EndOfMessage()):
            writer.write(http.send(event) or b"")
        response = await _next(http, reader)
        for _ in range(MOST_HINTS):
            if not isinstance(response, h11.InformationalResponse):
                break
            response = await _next(http, reader)
        if not isinstance(response, h11.Response):
            raise FetchFailed("it could not be fetched")
        headers = {name: value.decode("latin-1") for name, value in response.headers}
        if response.status_code in REDIRECTS and b"location" in headers:
            return headers[b"location"]
        self._check(response.status_code, headers)
        return await self._body(http, reader)

    def _check(self, status: int, headers: dict[bytes, str]) -> None:
        if status != 200:
            raise FetchFailed(f"its host answered with status {status}")
        # Nothing is decompressed: a few bytes could become gigabytes.
        if headers.get(b"content-encoding", "identity").lower() != "identity":
            raise FetchFailed("its host sent it compressed, without being asked to")
        if int(headers.get(b"content-length", 0)) > self._max_bytes:
            raise self._too_large()

    async def _body(self, http: h11.Connection, reader: asyncio.StreamReader) -> bytes:
        body, pieces = bytearray(), 0
        while isinstance(event := await _next(http, reader), h11.Data):
            body += event.data
            pieces += 1
            if len(body) > self._max_bytes:  # whatever the header said
                raise self._too_large()
            if pieces > FREE_PIECES + len(body) // LEAST_PIECE:
                raise FetchFailed("its host sent it in too many small pieces")
            if pieces % PIECES_IN_A_ROW == 0:
                # A read of what has come already waits for nothing, and so lets nobody else run.
                await asyncio.sleep(0)
        return bytes(body)

    def _too_large(self) -> FetchFailed:
        return FetchFailed(f"it is larger than {self._max_bytes} bytes")


def _request(target: Target) -> h11.Request:
    headers = [
        ("Host", target.authority),
        ("User-Agent", "lingma-gateway"),
        ("Accept", "image/png, image/jpeg, image/gif, image/webp"),
        ("Accept-Encoding", "identity"),
        # One request for each connection, so nothing of one key's fetch is left for another's.
        ("Connection", "close"),
    ]
    return h11.Request(method="GET", target=target.path, headers=headers)


async def _next(http: h11.Connection, reader: asyncio.StreamReader) -> h11.Event | None:
    """None: nothing more can come."""
    while (event := http.next_event()) is h11.NEED_DATA:
        http.receive_data(await reader.read(CHUNK))
    return event if isinstance(event, h11.Event) else None


@cache
def _trusted(authorities: str | None) -> ssl.SSLContext:
    """Reading the system's certificates takes a while, so they are read once."""
    return ssl.create_default_context(cafile=authorities)

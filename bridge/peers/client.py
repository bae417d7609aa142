"""Requests to the private listeners of other web processes."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Sequence
from typing import Final

import aiohttp

from bridge.peers.handover import SECRET
from bridge.peers.report import PeerReport

CONNECT_SEC: Final = 1.0
POOL_SEC: Final = 2.0
KEPT_SEC: Final = 15.0
"""How long an unused connection is kept: shorter than the other side keeps it, so that no request meets its end."""
MOST_CONNECTIONS: Final = 1024
LARGEST_HEADER: Final = 1 << 16
SLICE: Final = 1 << 18

LOST: Final = (aiohttp.ClientError, OSError, TimeoutError)
"""What a request raises when the other process is not there, or goes away."""

Headers = Sequence[tuple[str, str]]


class PeerClient:
    """A pool of connections for each process. Bodies come as they are sent, and are never gathered."""

    lost = LOST

    def __init__(self, node: str, secret: str, tls: ssl.SSLContext | None = None) -> None:
        self.node = node
        self._secret = (SECRET.decode(), secret)
        self._tls = tls
        self._sessions: dict[str, aiohttp.ClientSession] = {}

    def reaches(self, report: PeerReport) -> bool:
        """The process says where it listens, and it can be reached from here."""
        return bool(report.socket if report.node == self.node else report.url)

    async def post(self, report: PeerReport, path: str, headers: Headers, body: bytes) -> aiohttp.ClientResponse:
        """The answer, as soon as its head is there. Raise one of LOST. There is no deadline: cancel it."""
        session = self._sessions.get(report.run)
        if session is None:
            session = self._sessions[report.run] = self._open(report)
        base = "http://peer" if report.node == self.node else report.url
        sent = [*headers, self._secret, ("content-length", str(len(body)))]
        # In slices where it is large: the library would write it at once, and nobody else would be served.
        data = body if len(body) <= SLICE else _slices(body)
        return await session.post(base + path, data=data, headers=sent, allow_redirects=False)

    async def forget(self, run: str) -> None:
        """That start of a process is over: end what is open to it."""
        if (session := self._sessions.pop(run, None)) is not None:
            await session.close()

    async def close(self) -> None:
        for run in list(self._sessions):
            await self.forget(run)

    def _open(self, report: PeerReport) -> aiohttp.ClientSession:
        connector: aiohttp.BaseConnector
        if report.node == self.node:
            connector = aiohttp.UnixConnector(report.socket, limit=MOST_CONNECTIONS, keepalive_timeout=KEPT_SEC)
        else:
            tls = self._tls if self._tls is not None else True
            connector = aiohttp.TCPConnector(ssl=tls, limit=MOST_CONNECTIONS, keepalive_timeout=KEPT_SEC)
        return aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=None, connect=POOL_SEC, sock_connect=CONNECT_SEC),
            # What is passed on is the client's; and nothing here is for us to read.
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            max_line_size=LARGEST_HEADER,
            max_field_size=LARGEST_HEADER,
        )


async def _slices(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), SLICE):
        yield body[start : start + SLICE]

"""A file from a URL: over https, or with a digest that says what it must be; within bounds of size and time."""

from __future__ import annotations

import hashlib
import http.client
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from bridge.lingma.errors import DownloadFailed
from bridge.lingma.transport.urls import is_url, shown

MOST_PACKED = 1 << 30
DOWNLOAD_SEC = 900.0
SILENCE_SEC = 30.0
CHUNK = 1 << 20


def can_fetch(source: str) -> bool:
    """Whether it is an http or https URL."""
    return is_url(source) and source.partition("://")[0].lower() in {"http", "https"}


def refused(url: str, sha256: str) -> str:
    """The reason for fetching nothing from there, or "". Over plain http a digest is needed: it may be anybody's."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "this is no address: IPv6 stands in brackets, and no others do"
    if "@" in parts.netloc:
        return "a user or password in a URL is not supported; fetch the file yourself and name its path"
    match parts.scheme.lower():
        case "https":
            return ""
        case "http":
            return "" if sha256 else "plain http may bring anything; use https, or set LINGMA_VSIX_SHA256"
        case other:
            return f"{other}:// is not supported; use https"


def fetch(url: str, target: Path, sha256: str) -> None:
    """Write what is there to the file. Raise DownloadFailed."""
    if why := refused(url, sha256):
        raise DownloadFailed(f"{shown(url)}: {why}")
    try:
        with _within(DOWNLOAD_SEC) as opener, target.open("wb") as file:
            request = urllib.request.Request(url, headers={"User-Agent": "lingma-gateway"})  # noqa: S310  see refused
            # SILENCE_SEC bounds one read only. The time for all of it is kept by `_within`.
            with opener(sha256).open(request, timeout=SILENCE_SEC) as answer:
                _take(url, answer, file)
    except urllib.error.HTTPError as exc:
        exc.close()
        raise DownloadFailed(f"{shown(url)} cannot be fetched: {exc.code} {exc.reason}") from None
    except urllib.error.URLError as exc:
        raise DownloadFailed(f"{shown(url)} cannot be fetched: {exc.reason}") from exc
    except (http.client.HTTPException, ValueError, OSError) as exc:
        why = getattr(exc, "strerror", None) or type(exc).__name__
        raise DownloadFailed(f"{shown(url)} cannot be fetched: {why}") from exc


def digest_of(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _take(url: str, answer: http.client.HTTPResponse, file: IO[bytes]) -> None:
    # An answer in chunks announces no length; then the bound below is the only one.
    announced: int | None = answer.length
    wanted, got = MOST_PACKED + 1 if announced is None else announced, 0
    while got < wanted and (data := answer.read1(CHUNK)):  # read1 returns what has come
        got += len(data)
        if got > MOST_PACKED:
            raise DownloadFailed(f"{shown(url)} holds more than the {MOST_PACKED >> 20} MiB allowed here")
        file.write(data)
    # `read1` raises no IncompleteRead when a body ends too early.
    if announced is not None and announced != got:
        raise DownloadFailed(f"{shown(url)} broke off after {got} of {announced} bytes")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows to where the first address may go, and never from https back to http."""

    def __init__(self, sha256: str) -> None:
        self._sha256 = sha256

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        why = refused(newurl, self._sha256)
        if not why and req.type == "https" and urlsplit(newurl).scheme.lower() != "https":
            why = "a redirect leads from https to http"
        if why:
            fp.close()
            raise DownloadFailed(f"{shown(newurl)}: {why}")
        # A download that began over http, with a digest, may go on over http.
        return super().redirect_request(req, fp, code, msg, headers, newurl)


@contextmanager
def _within(seconds: float) -> Iterator[Callable[[str], urllib.request.OpenerDirector]]:
    """Make openers whose connections are cut when the time is up: a peer that drips defeats every other time-out."""
    sockets: list[socket.socket] = []
    ended = time.monotonic() + seconds
    # A blocking read cannot be cancelled from outside, but shutting its socket down ends it.
    timer = threading.Timer(max(0.0, seconds), _cut, [sockets])
    timer.daemon = True
    timer.start()

    def connected(sock: socket.socket) -> None:
        sockets.append(sock)
        # The timer was there before the connection, on a slow machine or behind a slow resolver.
        if time.monotonic() >= ended:
            _cut(sockets)

    try:
        yield lambda sha256: _opener(sha256, connected)
    except (OSError, http.client.HTTPException, ValueError, DownloadFailed):
        # After the deadline every failure is the cut's own doing, and is reported as a timeout below.
        if time.monotonic() < ended:
            raise
    finally:
        timer.cancel()
    if time.monotonic() >= ended:  # a head that was cut off can pass for a whole one
        raise DownloadFailed(f"the VSIX could not be fetched within {seconds:g} s")


def _cut(sockets: list[socket.socket]) -> None:
    for each in sockets:
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


def _opener(sha256: str, connected: Callable[[socket.socket], None]) -> urllib.request.OpenerDirector:
    """Http and https alone: urllib's usual one reads ftp:// and file:// as well."""

    class Plain(http.client.HTTPConnection):
        def connect(self) -> None:
            super().connect()
            connected(self.sock)

    class Secure(http.client.HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            connected(self.sock)

    class PlainHandler(urllib.request.HTTPHandler):
        def http_open(self, req: urllib.request.Request) -> Any:
            return self.do_open(Plain, req)

    class SecureHandler(urllib.request.HTTPSHandler):
        def https_open(self, req: urllib.request.Request) -> Any:
            return self.do_open(Secure, req)

    opener = urllib.request.OpenerDirector()
    for handler in (
        # Proxies of the environment are honoured: many sites reach the internet only through one.
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        PlainHandler(),
        SecureHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        _Redirects(sha256),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener

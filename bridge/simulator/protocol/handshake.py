"""The opening handshake of RFC 6455, the server's side.

Our own, as the library for it took a quarter of the time that a simulator needs to start: tests start hundreds.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Collection

SUFFIX = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
UPGRADE = "Upgrade: websocket\r\nConnection: Upgrade\r\n"

Headers = dict[str, list[str]]


class _RefusedError(Exception):
    """`status`: its number and its name; `headers`: complete lines."""

    def __init__(self, status: str, why: str, headers: str = "") -> None:
        super().__init__(why)
        self.status, self.headers = status, headers


def answer(head: bytes, paths: Collection[str]) -> tuple[bool, bytes]:
    """Whether the request is an upgrade of one of these paths, and the response. `head` ends before the blank line."""
    try:
        key = _key(head, paths)
    except _RefusedError as exc:
        body = f"{exc}\n"
        return False, (
            f"HTTP/1.1 {exc.status}\r\n{exc.headers}Connection: close\r\n"
            f"Content-Type: text/plain; charset=utf-8\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        ).encode()
    accept = base64.b64encode(hashlib.sha1(key + SUFFIX, usedforsecurity=False).digest()).decode()
    return True, f"HTTP/1.1 101 Switching Protocols\r\n{UPGRADE}Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()


def _key(head: bytes, paths: Collection[str]) -> bytes:
    """What the client wants to be answered, of a request that breaks no rule."""
    line, *lines = head.decode("latin-1").split("\r\n")
    method, _, rest = line.partition(" ")
    path, _, version = rest.partition(" ")
    if method != "GET" or version != "HTTP/1.1":
        raise _RefusedError("400 Bad Request", "the request line is none of GET with HTTP/1.1")
    headers = _headers(lines)
    if path.partition("?")[0] not in paths:
        raise _RefusedError("404 Not Found", "not found")
    if "websocket" not in _tokens(headers, "upgrade") or "upgrade" not in _tokens(headers, "connection"):
        raise _RefusedError("426 Upgrade Required", "no upgrade to WebSocket", "Upgrade: websocket\r\n")
    if headers.get("sec-websocket-version") != ["13"]:
        raise _RefusedError("426 Upgrade Required", "the version is not 13", "Sec-WebSocket-Version: 13\r\n")
    keys = headers.get("sec-websocket-key", [])
    if len(keys) != 1 or not _is_nonce(keys[0]):
        raise _RefusedError("400 Bad Request", "the key is not sixteen bytes in base64")
    return keys[0].encode()


def _headers(lines: list[str]) -> Headers:
    headers: Headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise _RefusedError("400 Bad Request", "a header is no name with a value")
        headers.setdefault(name.lower(), []).append(value.strip(" \t"))
    return headers


def _tokens(headers: Headers, name: str) -> set[str]:
    return {token.strip().lower() for value in headers.get(name, ()) for token in value.split(",")}


def _is_nonce(key: str) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):  # the latter where it is not even ASCII
        return False

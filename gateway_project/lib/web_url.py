"""What a URL points at, read strictly: whatever two readers could understand in two ways is refused."""

from __future__ import annotations

import re
from urllib.parse import quote, urljoin, urlsplit

import msgspec

LONGEST = 8192
_UNCLEAR = re.compile(r"[\x00-\x20\x7f\\]")
_HOST = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*|[0-9a-f:]*:[0-9a-f:.]*")
_SAFE_CHARS = "/%:@!$&'()*+,;=-._~"
_PORTS = {"http": 80, "https": 443}


class BadUrl(Exception):
    """The message says what is wrong, in words that follow the image's name."""


class Target(msgspec.Struct, frozen=True):
    """One place to ask. `path` has the query, percent-encoded; `host` is in ASCII and lower case."""

    url: str
    secure: bool
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"


def parse(url: str, ports: frozenset[int]) -> Target:
    """Raise BadUrl for anything but http(s) to a host on one of these ports."""
    if len(url) > LONGEST or _UNCLEAR.search(url):
        raise BadUrl("its URL is too long or has characters that do not belong there")
    try:
        parts = urlsplit(url)
        port = parts.port
        # `localhost.` and `localhost` are one host, so the dot must not make two of them.
        host = (parts.hostname or "").encode("idna").decode().removesuffix(".").lower()
    except ValueError:
        raise BadUrl("its URL cannot be read") from None
    if parts.scheme not in _PORTS:
        raise BadUrl("only data:, http: and https: URLs are accepted")
    # `http://good.example@10.0.0.1/` looks like one host and means the other.
    if "@" in parts.netloc:
        raise BadUrl("its URL holds a user name or a password")
    if not _HOST.fullmatch(host):
        raise BadUrl("its URL names no proper host")
    port = _PORTS[parts.scheme] if port is None else port
    if port not in ports:
        raise BadUrl(f"its URL names port {port}, from which nothing is fetched")
    path = quote(parts.path or "/", safe=_SAFE_CHARS)
    query = f"?{quote(parts.query, safe=_SAFE_CHARS + '?')}" if parts.query else ""
    return Target(url, parts.scheme == "https", host, port, path + query)


def redirected(target: Target, location: str, ports: frozenset[int]) -> Target:
    """Where a redirect leads, checked like the first URL. Raise BadUrl."""
    try:
        # The address may be relative; what it means is decided by the same reader.
        following = parse(urljoin(target.url, location), ports)
    except ValueError:
        raise BadUrl("it is redirected to a URL that cannot be read") from None
    if target.secure and not following.secure:
        raise BadUrl("it is redirected from https to http")
    return following

"""The proxies that a browser is to use: for the known hosts, and for nobody else. Pure.

Chromium asks a proxy for whatever a page wants, so what keeps it to the known hosts without one would be void: a proxy
finds every host. So a script decides (PAC), and what it does not send to a proxy meets the rules of the resolver.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import msgspec

KINDS: Final = {"http": "PROXY", "https": "HTTPS", "socks4": "SOCKS", "socks5": "SOCKS5", "socks5h": "SOCKS5"}
PORTS: Final = {"http": 80, "https": 443}
SCRIPT: Final = """function FindProxyForURL(url, host) {
  var within = function (names) { return names.some(function (name) {
    return name === "*" || host === name || host.slice(-name.length - 1) === "." + name; }); };
  if (!within(%(known)s) || within(%(direct)s)) return "DIRECT";
  return url.slice(0, 6) === "https:" ? %(https)s : %(http)s;
}"""


class Proxy(msgspec.Struct, frozen=True):
    """`name` is what the browser calls it: one that no page can know, or pages could talk to the proxy itself."""

    kind: str
    name: str
    host: str
    port: int

    @property
    def place(self) -> str:
        """Where it truly is."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Proxies(msgspec.Struct, frozen=True):
    """Of the variables that every program knows; None: directly."""

    http: Proxy | None = None
    https: Proxy | None = None
    direct: tuple[str, ...] = ()
    """Hosts that are reached without one, with all below them; `*` is any."""

    @property
    def all(self) -> list[Proxy]:
        return [each for each in dict.fromkeys((self.http, self.https)) if each is not None]


def proxies_of(variables: Mapping[str, str], name: str) -> Proxies:
    """`name`: a host name of `.invalid` that nobody can guess."""

    def value(variable: str) -> str:
        return variables.get(variable.lower()) or variables.get(variable) or ""

    named = [part.strip().partition(":")[0].lower() for part in value("NO_PROXY").split(",")]
    named = [each if each == "*" else each.lstrip("*.") for each in named]
    return Proxies(
        _proxy(value("HTTP_PROXY"), f"a-{name}"), _proxy(value("HTTPS_PROXY"), f"b-{name}"), tuple(filter(None, named))
    )


def _proxy(url: str, name: str) -> Proxy | None:
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host, port = parts.hostname or "", parts.port or PORTS.get(parts.scheme, 1080)
    except ValueError:
        return None
    if not host or parts.scheme not in KINDS:
        return None
    # One that speaks TLS shows a certificate, in which its own name stands.
    return Proxy(KINDS[parts.scheme], host if parts.scheme == "https" else name, host, port)


def script_of(proxies: Proxies, known: list[str]) -> str:
    """The address of a script (PAC) that sends these hosts, with all below them, to the proxies."""

    def to(proxy: Proxy | None) -> str:
        return json.dumps("DIRECT" if proxy is None else f"{proxy.kind} {proxy.name}:{proxy.port}")

    text = SCRIPT % {
        "known": json.dumps(known), "direct": json.dumps(proxies.direct),
        "https": to(proxies.https), "http": to(proxies.http),
    }  # fmt: skip
    return f"data:application/x-ns-proxy-autoconfig;base64,{base64.b64encode(text.encode()).decode()}"

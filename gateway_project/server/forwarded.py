"""The client's address behind proxies: `X-Forwarded-*` fields, read only from trusted proxies."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

SCHEMES = {b"http", b"https"}


class TrustedProxies:
    """Addresses and networks; `*` is everybody."""

    def __init__(self, names: Iterable[str]) -> None:
        names = list(names)
        self.everybody = "*" in names
        self._networks = []
        for name in names:
            with suppress(ValueError):
                self._networks.append(ipaddress.ip_network(name, strict=False))

    def __bool__(self) -> bool:
        return self.everybody or bool(self._networks)

    def __contains__(self, host: str) -> bool:
        if self.everybody or not self._networks:
            return self.everybody
        address = _address(host)
        return address is not None and any(address in network for network in self._networks)

    def client_address(self, chain: str) -> str:
        """The last address of the chain that is no proxy of ours, or "" when that is no address."""
        # From the right: each proxy appends whom it saw, so what stands further left may be made up by the client.
        hops = [hop.strip() for hop in chain.split(",")]
        hop = hops[0] if self.everybody else next((hop for hop in reversed(hops) if hop not in self), hops[0])
        address = _address(hop)
        return str(address) if address is not None else ""


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """With or without a port, brackets or a zone."""
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    # On a socket of both families, IPv4 clients appear as ::ffff:a.b.c.d, which no IPv4 network would contain.
    return getattr(address, "ipv4_mapped", None) or address


class Forwarded:
    """The ASGI application behind proxies. It checks the address of the peer itself, under either server."""

    def __init__(self, application: Any, trusted: TrustedProxies) -> None:
        self._application = application
        self._trusted = trusted

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Serve the request as the client's own."""
        peer = scope.get("client")
        # By the socket's own address: fields are believed only when a trusted proxy is at its other end.
        if scope["type"] != "lifespan" and peer and peer[0] in self._trusted:
            self._believe(scope)
        await self._application(scope, receive, send)

    def _believe(self, scope: dict[str, Any]) -> None:
        # Several fields are one list, in their order.
        chains = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
        schemes = [value.strip().lower() for name, value in scope["headers"] if name == b"x-forwarded-proto"]
        # The last one is of the nearest proxy, which is the one that is trusted.
        if schemes and schemes[-1] in SCHEMES:
            scheme = schemes[-1].decode()
            scope["scheme"] = scheme.replace("http", "ws") if scope["type"] == "websocket" else scheme
        if chains and (client := self._trusted.client_address(b",".join(chains).decode("latin-1"))):
            # 0: the client's port is not in the field.
            scope["client"] = (client, 0)

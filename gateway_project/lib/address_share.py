"""Whose share of a bound an address counts to. Pure."""

from __future__ import annotations

import ipaddress


def share_of(host: str) -> str:
    """The address itself; of IPv6 its network, for a client usually has a whole /64 to itself."""
    if ":" not in host:
        return host
    try:
        address = ipaddress.IPv6Address(host.partition("%")[0])
    except ValueError:  # a proxy may say anything
        return host
    return str(address.ipv4_mapped or address.packed[:8].hex())

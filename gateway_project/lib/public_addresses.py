"""Which addresses belong to the public internet. The tables are our own: Python's differ from one patch to the next."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address

_REFUSED_4 = [
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this host
        "10.0.0.0/8",
        "100.64.0.0/10",  # carriers' NAT, and some clouds' metadata
        "127.0.0.0/8",
        "168.63.129.16/32",  # public by its number, Azure's metadata by its use
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",  # multicast, reserved, broadcast
    )
]
_GLOBAL_6 = IPv6Network("2000::/3")  # leaves out loopback, mapped IPv4, NAT64, unique local, link-local, multicast
_REFUSED_6 = [
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32",
        "2002::/16",  # 6to4: an IPv4 address, maybe a private one, in disguise
        "3fff::/20",
    )
]


def is_public(address: str) -> bool:
    """Whether anybody on the internet means the same host by it. What is no address is not public."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, IPv4Address):
        return parsed.is_global and not any(parsed in network for network in _REFUSED_4)
    # An address with a scope (`fe80::1%eth0`) means another host on each machine.
    if parsed.scope_id is not None or parsed not in _GLOBAL_6:
        return False
    return parsed.is_global and not any(parsed in network for network in _REFUSED_6)

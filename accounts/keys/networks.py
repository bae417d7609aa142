"""Which networks a key may be used from."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def networks_in(texts: Iterable[str]) -> tuple[Network, ...]:
    """Addresses and networks such as 10.0.0.0/8. Raise ValueError for what is neither."""
    return tuple(ipaddress.ip_network(text, strict=False) for text in texts)


# Asked for each request, while a key comes from few addresses: to parse and compare them again would be for nothing.
@lru_cache(4096)
def is_within(networks: tuple[Network, ...], address: str) -> bool:
    """Whether the address is in one of them; what is no address is in none."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    # A socket for both protocols reports clients of the old one as ::ffff:10.0.0.1.
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return any(ip in network for network in networks)

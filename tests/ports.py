"""Ports for servers that bind them some time later."""

import random
import socket
from pathlib import Path

FIRST = 10_000
RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
LINUX = 32_768


def _first_of_the_system():
    """From here on the system gives ports to whoever asks for any: each connection, and each server of another test."""
    try:
        return int(RANGE.read_text().split()[0])
    except OSError:
        return LINUX


def free_port():
    """A port of both families that nobody has, and that the system gives to nobody else until it is bound."""
    last = max(_first_of_the_system(), FIRST + 1_000)
    while True:
        port = random.SystemRandom().randrange(FIRST, last)
        if _is_free(port):
            return port


def _is_free(port):
    family, host = (socket.AF_INET6, "::") if socket.has_dualstack_ipv6() else (socket.AF_INET, "0.0.0.0")
    with socket.socket(family) as probe:
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True

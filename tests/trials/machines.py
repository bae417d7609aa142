"""Two machines that are one gateway: each in a network of its own where that is allowed, else at its own address."""

import os
import subprocess
import warnings
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.doors import Authority
from tests.e2e.installation import Gateway

NODES = ("north", "south")
PORT = 8400
SECRET = "what machines show each other"


def run(*command):
    return subprocess.run(command, capture_output=True, check=True)


@contextmanager
def namespaces(connect):
    """Their names, one for each node, connected by `connect(names)`; none where they may not be made."""
    _remove(_left())
    names = [f"lgw-{node}-{os.getpid()}" for node in NODES]  # several runs at once have networks of their own
    try:
        try:
            for name in names:
                run("ip", "netns", "add", name)
                run("ip", "-n", name, "link", "set", "lo", "up")
            connect(names)
            made = names
        except (OSError, subprocess.CalledProcessError) as exc:
            made = []
            why = getattr(exc, "stderr", None) or str(exc).encode()
            told = f"two machines share a network in these tests, as none of their own could be made: {why.decode()}"
            warnings.warn(told.strip(), stacklevel=2)
        yield made
    finally:
        _remove(names)


def inside(name):
    """What a process in that namespace is started with."""
    return ("ip", "netns", "exec", name)


@contextmanager
def networks():
    """Addresses of two machines, and what a process of each is started with."""
    with namespaces(_connect) as names:
        if names:
            yield ["10.83.17.1", "10.83.17.2"], [inside(name) for name in names]
        else:
            # Not root, or no namespaces here: then the machines share their network, and differ in their addresses.
            yield ["127.0.0.2", "127.0.0.3"], [(), ()]


def _connect(names):
    run("ip", "link", "add", "cable", "netns", names[0], "type", "veth", "peer", "name", "cable", "netns", names[1])
    for number, name in enumerate(names, 1):
        run("ip", "-n", name, "address", "add", f"10.83.17.{number}/24", "dev", "cable")
        run("ip", "-n", name, "link", "set", "cable", "up")


def _left():
    """Networks of runs that were killed."""
    found = [path.name for path in Path("/run/netns").glob("lgw-*-*")]
    named = [(name, name.split("-")[2]) for name in found if name.startswith(tuple(f"lgw-{node}-" for node in NODES))]
    return [name for name, pid in named if pid.isdecimal() and not psutil.pid_exists(int(pid))]


def _remove(names):
    for name in names:
        subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


@contextmanager
def machines(directory, template, **settings):
    """The two gateways. They share a database, a Redis and their secrets; files and networks are their own."""
    authority = Authority(directory)
    with networks() as (addresses, launchers):
        first = directory / NODES[0]
        shared = {
            "REDIS_URL": f"unix://{first}/redis.sock", "DATABASE_URL": f"sqlite:///{first}/gateway.sqlite3",
            "PEER_SECRET": SECRET, "PEER_TLS_CA": str(authority.ca_file), **settings,
        }  # fmt: skip

        def started(number):
            file = str(authority.sign(addresses[number]))
            own = {"NODE_NAME": NODES[number], "PEER_LISTEN": f"{addresses[number]}:{PORT}"}
            own |= {"PEER_TLS_CERT": file, "PEER_TLS_KEY": file}
            launcher = launchers[number]
            return Gateway(directory / NODES[number], template, wait=False, launcher=launcher, **shared, **own)

        with started(0) as north, started(1) as south:
            yield north, south

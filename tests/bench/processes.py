"""Figures of processes, read from /proc: CPU, memory, who listens on a port, who descends from whom."""

import os
import time
from contextlib import suppress
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def _stat(pid):
    """The fields of /proc/<pid>/stat from the state on; empty when the process is gone."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return []


def cpu_seconds(pid):
    """User and system time of a process with all its threads, in seconds; 0 when it is gone."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / TICKS if fields else 0.0


def rss_bytes(pid):
    """Resident memory; 0 when the process is gone."""
    fields = _stat(pid)
    return int(fields[21]) * PAGE if fields else 0


def started(pid):
    """When a process started, in ticks since boot; empty when it is gone or only waits to be reaped."""
    fields = _stat(pid)
    return fields[19] if fields and fields[0] != "Z" else ""


def machine_seconds():
    """(busy, stolen) seconds of all cores since boot."""
    ticks = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    user, nice, system, _idle, _wait, irq, softirq, steal = ticks
    return (user + nice + system + irq + softirq) / TICKS, steal / TICKS


def descendants(root):
    """`root` and every process below it, parents first."""
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (fields := _stat(entry)):
            children.setdefault(int(fields[1]), []).append(int(entry))
    found = [root]
    for pid in found:
        found += children.get(pid, ())
    return found


def _socket_inodes(port):
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return {f"socket:[{row[9]}]" for row in rows if row[3] == "0A" and int(row[1].rpartition(":")[2], 16) == port}


def listeners(port, among):
    """Those of the processes `among` that hold a socket listening on `port`."""
    inodes, found = _socket_inodes(port), []
    for pid in among:
        with suppress(OSError):
            links = Path(f"/proc/{pid}/fd").iterdir()
            if any(os.readlink(link) in inodes for link in links):
                found.append(pid)
    return found


def _words(pid):
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").split()
    return []


def name(pid):
    """What a process is: its command line without flags and directories."""
    return " ".join(word.rpartition("/")[2] for word in _words(pid) if not word.startswith("-"))[:48]


def flags(pid):
    """The flags `--name=value` of a process, as a dict."""
    return dict(word[2:].split("=", 1) for word in _words(pid) if word.startswith("--") and "=" in word)


def snapshot(pids):
    """CPU seconds of each process and of the machine at one moment."""
    busy, stolen = machine_seconds()
    return {"at": time.monotonic(), "busy": busy, "stolen": stolen, "cpu": {pid: cpu_seconds(pid) for pid in pids}}

"""Figures of processes, read from /proc: CPU, memory, who listens on a port, who descends from whom."""

import os
import time
from contextlib import suppress
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
SCHEDULED = 2  # which of a process's clocks: the time it ran, as the scheduler counts it


def _stat(pid):
    """The fields of /proc/<pid>/stat from the state on; empty when the process is gone."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return []


def cpu_seconds(pid):
    """User and system time of a process with all its threads, in seconds; 0 when it is gone."""
    with suppress(OSError):  # its own clock: to the nanosecond, where /proc counts ticks of 10 ms
        return time.clock_gettime(~pid << 3 | SCHEDULED)
    return 0.0


def memory(pid):
    """(RSS, PSS) in bytes: all it has resident, and its share of it where others have the same; 0 when it is gone."""
    with suppress(OSError):
        rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
        sizes = {name: int(rest.split()[0]) << 10 for name, _, rest in (row.partition(":") for row in rows)}
        return sizes["Rss"], sizes["Pss"]
    return 0, 0


def forget_peak(pid):
    """Have the kernel begin anew with the most memory that the process ever had."""
    with suppress(OSError):
        Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak_bytes(pid):
    """The most it had resident since `forget_peak`; 0 when it is gone."""
    with suppress(OSError):
        status = Path(f"/proc/{pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) << 10
    return 0


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


def part(what):
    """Which part of a gateway has this name (of `name`): the same word for every version of it."""
    words = {"source": "tests.bench.source", "web": "gateway_project.server", "worker": "celery worker", "beat": "beat",
             "redis": "redis"}  # fmt: skip
    return next((each for each, found in words.items() if found in what), "rest")


def by_part(values, parts):
    """The sums of what belongs to the same part: `values` by pid, as a text where they come from JSON."""
    sums = {}
    for pid, value in values.items():
        sums[parts[int(pid)]] = sums.get(parts[int(pid)], 0) + value
    return sums


def snapshot(pids):
    """CPU seconds of each process and of the machine at one moment."""
    busy, stolen = machine_seconds()
    return {"at": time.monotonic(), "busy": busy, "stolen": stolen, "cpu": {pid: cpu_seconds(pid) for pid in pids}}

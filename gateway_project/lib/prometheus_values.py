"""Stores counts in memory, and once a second in the files that several processes share.

To be set up before the first metric is made. The library maps its files into memory instead; where the disk is full or
broken, touching such a page kills the process. A count costs 0.64 of the library's, an observation 0.72
(`tests/bench/metric_values.py`).
"""

from __future__ import annotations

import atexit
import logging
import os
import re
import struct
import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from prometheus_client import Histogram, multiprocess, values
from prometheus_client.mmap_dict import _read_all_values
from prometheus_client.values import MultiProcessValue

from gateway_project.lib import disk
from gateway_project.lib.processes import preloading

log = logging.getLogger(__name__)

WRITE_EVERY_SEC: Final = 1.0
FAST: Final = "FastValue"

_HEAD: Final = struct.Struct("ii")  # how many bytes are in use
_FIGURES: Final = struct.Struct("dd")  # a value and its time


class BulkHistogram(Histogram):
    """The library's, which also takes many observations for the price of one or two."""

    def observe_all(self, amounts: list[float]) -> None:
        # One lock and one write for the sum and for each bucket that was hit, not for each observation.
        self._sum.inc(sum(amounts))
        for bucket, times in Counter(map(partial(bisect_left, self._upper_bounds), amounts)).items():
            self._buckets[bucket].inc(times)


class FileInMemory:
    """Has the methods and the format of the library's mapped file. `write` copies it to the file."""

    def __init__(self, filename: str) -> None:
        self._name = filename = _lasting(filename)
        self._file = -1
        self._changed = False
        self._data = bytearray(_earlier(filename))
        self._positions = {key: position for key, _, _, position in _values(bytes(self._data))}
        _open_files[filename] = self
        _keep_writing()

    def read_value(self, key: str) -> tuple[float, float]:
        """A value and its time, zeros for a new one."""
        if key not in self._positions:
            self._add(key)
        value, timestamp = _FIGURES.unpack_from(self._data, self._positions[key])
        return value, timestamp

    def write_value(self, key: str, value: float, timestamp: float) -> None:
        if key not in self._positions:
            self._add(key)
        _FIGURES.pack_into(self._data, self._positions[key], value, timestamp)
        self._changed = True

    def _add(self, key: str) -> None:
        encoded = key.encode()
        # The library's format: a length of four bytes, the key filled up so that the figures stand
        # at multiples of eight.
        padded = encoded + b" " * (8 - (len(encoded) + 4) % 8)
        self._data += struct.pack(f"i{len(padded)}sdd", len(encoded), padded, 0.0, 0.0)
        self._positions[key] = len(self._data) - _FIGURES.size
        _HEAD.pack_into(self._data, 0, len(self._data), 0)
        self._changed = True

    def write(self) -> None:
        """Copy what has changed to the file. Raise OSError when that cannot be done; it is tried again next time."""
        if not self._changed:
            return
        if self._file < 0:
            self._file = os.open(self._name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        # Before the copy is taken: a count that comes from another thread now is in the copy, or is written next time.
        self._changed = False
        data = bytes(self._data)  # of one moment
        try:
            # The head comes last, so that a reader finds all that it speaks of.
            _write_all(self._file, data[_HEAD.size :], _HEAD.size)
            _write_all(self._file, data[: _HEAD.size], 0)
        except OSError:
            self._changed = True
            raise

    def close(self) -> None:
        _open_files.pop(self._name, None)
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    @staticmethod
    def read_all_values_from_file(filename: str) -> Iterator[tuple[str, float, float, int]]:
        """What is in a file: of this process as it is now, of others as they wrote it last."""
        ours = _open_files.get(filename)
        return _values(bytes(ours._data) if ours is not None else _earlier(filename))


_open_files: dict[str, FileInMemory] = {}
"""Those of this process, by path. The library guards them with a lock of its own."""
_writer: list[int] = []
"""The process whose thread writes; a fork takes the list along and not the thread."""


def files() -> list[str]:
    """Paths of this process's files, also of those that are not written yet."""
    return list(_open_files)


def write_files() -> None:
    """Copy to the files what has changed since the last time."""
    try:
        for file in list(_open_files.values()):
            file.write()
    except OSError as exc:
        disk.fails("metrics", exc)
    else:
        disk.works("metrics")


def _write_at_the_end() -> None:
    with suppress(OSError):
        for file in list(_open_files.values()):
            file.write()


def _keep_writing() -> None:
    if preloading.active:  # `begin` makes up for it
        return
    # By pid: after a fork the list says that a thread runs, and in the child none does.
    if _writer == [os.getpid()]:
        return
    _writer[:] = [os.getpid()]
    threading.Thread(target=_write_for_ever, name="metrics-writer", daemon=True).start()


def _write_for_ever() -> None:
    while True:
        time.sleep(WRITE_EVERY_SEC)
        write_files()


def _values(data: bytes) -> Iterator[tuple[str, float, float, int]]:
    """Key, value, time and position of each."""
    found: Iterator[tuple[str, float, float, int]] = _read_all_values(data)  # type: ignore[no-untyped-call]  # as below
    return found


def _earlier(filename: str) -> bytes:
    """The part of a file that is in use: an earlier process may have had our name. Nothing when there is no file."""
    try:
        with open(filename, "rb") as file:
            data = file.read()
    except OSError:
        data = b""
    # A file that a crash cut short, or that is not ours, is taken as an empty one: counting must not fail.
    used = _HEAD.unpack_from(data)[0] if len(data) >= _HEAD.size else 0
    return data[:used] if _HEAD.size <= used <= len(data) else _HEAD.pack(_HEAD.size, 0)


def _lasting(filename: str) -> str:
    """
    A part of the gateway that is started again goes on counting in the file of the process before it.

    Else each kill would leave files to be read at every scrape. Gauges show the present, and end with the process.
    """
    part, head = os.environ.get("METRICS_PART"), os.path.basename(filename).partition("_")[0]
    # A forked child keeps the usual name with its pid: two processes must not write to one file.
    if not part or head == "gauge" or os.getpid() != _PROCESS:
        return filename
    return filename.removesuffix(f"_{_PROCESS}.db") + f"_{part}.db"


_PROCESS = os.getpid()
"""The one that was started; forked ones have files of their own."""


def begin() -> None:
    """In a fork of a process that was preloading: count as one that was started does, in files of its own."""
    global _PROCESS  # noqa: PLW0603  it is another one
    _PROCESS = os.getpid()
    directory = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if directory:
        drop_stale_gauges(Path(directory))
    if values.ValueClass.__name__ == FAST:
        # The library looks for a new pid at its next count; ours do not look.
        values.ValueClass._MmapedValue__check_for_pid_change(None)


def drop_stale_gauges(directory: Path) -> None:
    """Gauges show the present, so those of a process that is gone mean nothing."""
    for path in directory.glob("gauge_*.db"):
        found = re.search(r"_(\d+)\.db$", path.name)
        if found and not _alive(int(found[1])):
            with suppress(OSError):  # another process may have been faster, or the disk lets nobody write
                path.unlink()


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's, so alive
        pass
    return True


def _write_all(file: int, data: bytes, at: int) -> None:
    while data:
        written = os.pwrite(file, data, at)
        data, at = data[written:], at + written


def install_fast_values() -> None:
    """Count at half of the library's price, and without a disk: 0.6 µs, not 1.1; an observation 1.2, not 2.2.

    It asks for the process id at every count, to notice a fork; Python has a hook for forks. Metrics made before this
    and after it would write to one file from two places, so programs call it first. A release of the library that is
    made differently inside counts in its own way.
    """
    directory = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if not directory or values.ValueClass.__name__ == FAST:
        return
    drop_stale_gauges(Path(directory))  # not only at a scrape: there may be none, and a crash loop goes on
    if not all(hasattr(module, "MmapedDict") for module in (values, multiprocess)):
        log.warning("prometheus_client has changed inside: counting is slower, and needs a disk with room")
        return
    for module in (values, multiprocess):
        vars(module)["MmapedDict"] = FileInMemory  # where the library looks it up
    values.ValueClass = _fast_value()
    atexit.register(_write_at_the_end)


def _fast_value() -> type[Any]:
    shared: Any = MultiProcessValue()  # type: ignore[no-untyped-call]  # as the library has it
    lock = threading.Lock()

    class FastValue(shared):  # type: ignore[misc]  # as above
        """Counting is one addition and one write into memory. Threads of Django's count too, hence the lock."""

        _value: float

        def inc(self, amount: float) -> None:
            with lock:
                value = self._value = self._value + amount
                self._file.write_value(self._key, value, 0.0)

    def count_as_the_library_does() -> None:
        # It finds out by itself that a forked child needs files of its own.
        if not preloading.active:
            del FastValue.inc

    os.register_at_fork(after_in_child=count_as_the_library_does)
    return FastValue

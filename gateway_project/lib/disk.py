"""The mode "disk": it begins with the first writer that fails, and ends when all can write again."""

from __future__ import annotations

import threading

from gateway_project.lib import degraded

_failing: set[str] = set()
_lock = threading.Lock()


def fails(writer: str, error: OSError) -> None:
    """Report that a writer (its name in a word or two) could not write. Cheap enough to call at every failure."""
    with _lock:
        _failing.add(writer)
        degraded.begin("disk", f"{writer}: {error.strerror or error}")


def works(writer: str) -> None:
    """Report that the writer could write. Costs one look-up in a set when it always could."""
    # Without the lock, for this is called at every good write; the lock follows only where something changes.
    if writer not in _failing:
        return
    with _lock:
        _failing.discard(writer)
        if not _failing:
            degraded.end("disk")

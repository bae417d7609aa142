"""Who cannot write to the disk now: the mode "disk" lasts from the first of them to the last."""

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
    """Report that the writer could write. Costs one look into a set when it always could."""
    # Without the lock, for this is called at every good write; the lock follows only where something changes.
    if writer not in _failing:
        return
    with _lock:
        _failing.discard(writer)
        if not _failing:
            degraded.end("disk")

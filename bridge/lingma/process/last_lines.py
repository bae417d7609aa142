"""The end of a log, for people to read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

MOST_BYTES: Final = 64 << 10
MOST_LINES: Final = 200
LONGEST_LINE: Final = 4096


def last_lines(path: Path) -> list[str]:
    """The last whole lines, the latest at the end. Raise OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        size = os.fstat(descriptor).st_size
        start = max(0, size - MOST_BYTES)
        data = os.pread(descriptor, size - start, start)
    finally:
        os.close(descriptor)
    lines = data.decode("utf-8", "replace").splitlines()
    # The first one is cut where there is more before it.
    return [line[:LONGEST_LINE] for line in lines[1 if start else 0 :]][-MOST_LINES:]

"""`received.jsonl`: every message in and out, for assertions."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec


class Recorder:
    """One JSON object per line: time (unix s), direction (in or out), connection, and the parts of the message."""

    def __init__(self, root: Path) -> None:
        # Without a buffer: a test reads the file while the process runs.
        self._file = (root / "received.jsonl").open("ab", buffering=0)

    def write(self, direction: str, connection: int, body: bytes) -> None:
        """Append a message; it is on disk when this returns."""
        line: dict[str, Any] = {"time": time.time(), "direction": direction, "connection": connection}
        try:
            message = msgspec.json.decode(body)
            line.update(message if isinstance(message, dict) else {"unreadable": message})
        except msgspec.DecodeError:
            line["unreadable"] = body.decode("utf-8", "replace")
        with suppress(OSError):  # a full disk
            self._file.write(msgspec.json.encode(line) + b"\n")

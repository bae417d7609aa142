"""Turns in doubt that were asked of an instance lately, and of which nothing has come yet."""

from __future__ import annotations

import time

from bridge.lingma.stream import ReplyStream

DOUBT_SEC = 2.0  # so long a turn in doubt may be silent before another one is asked beside it


class Doubts:
    """No other such turn is asked beside them."""

    def __init__(self) -> None:
        self._streams: list[tuple[ReplyStream, float]] = []

    def add(self, stream: ReplyStream) -> None:
        self._streams.append((stream, time.monotonic()))

    def __bool__(self) -> bool:
        # Cleaned up when it is asked for: no event is needed for the end of a doubt.
        since = time.monotonic() - DOUBT_SEC
        self._streams = [
            (stream, at) for stream, at in self._streams if at > since and stream.end is None and not stream.has_begun
        ]
        return bool(self._streams)

"""Which short chats an instance was asked for, and how the last one went."""

from __future__ import annotations

import time

from bridge.status.smoke import SmokeReport


class SmokeRecord:
    """Each order is obeyed once, and none from before the instance was made."""

    def __init__(self) -> None:
        self.last: SmokeReport | None = None
        """None: there was none yet."""
        self._obeyed_until = time.time()

    def takes(self, ordered_at: float) -> bool:
        """True once for each order (Unix seconds), and never for one that is older than the last."""
        if ordered_at <= self._obeyed_until:
            return False
        self._obeyed_until = ordered_at
        return True

    def succeed(self, before: SmokeRecord) -> None:
        """Go on with that of the instance whose place this one's has taken."""
        self.last = self.last or before.last
        self._obeyed_until = max(self._obeyed_until, before._obeyed_until)

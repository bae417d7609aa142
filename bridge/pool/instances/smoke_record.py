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
        self._is_asked = False

    def takes(self, ordered_at: float) -> bool:
        """True once for each order (Unix seconds), and never for one that is older than the last."""
        is_new = ordered_at > self._obeyed_until
        # The first may be older than the instance, by its clock; those that follow are newer, whatever clocks say.
        if is_new or not self._is_asked:
            self._obeyed_until, self._is_asked = ordered_at, True
        return is_new

    def succeed(self, before: SmokeRecord) -> None:
        """Go on with that of the instance whose place this one's has taken."""
        self.last = self.last or before.last
        self._obeyed_until, self._is_asked = before._obeyed_until, before._is_asked

"""What turns were told of an account: it is read again, and until then none is asked that would be told the same."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from bridge.chat.errors import Forbidden, LoggedOut

AGAIN_SEC: Final = 5.0
"""Between two reads of the account because a turn was forbidden."""


class AccountSuspicion:
    """`refused()` with each turn that went wrong, `read()` whenever the account was read."""

    def __init__(self) -> None:
        self.on_raised: Callable[[], None] = lambda: None
        """Called when the account may be another than it was."""
        self._forbidden_at = float("-inf")
        self._logged_out_at: float | None = None

    @property
    def is_logged_out(self) -> bool:
        """By what a turn was told, until the account has been read since."""
        return self._logged_out_at is not None

    def refused(self, error: BaseException | None) -> None:
        """A turn went wrong for that."""
        now = time.monotonic()
        if isinstance(error, LoggedOut):
            self._logged_out_at = now
            self.on_raised()
        # One with a code of its own says already what was wrong.
        elif isinstance(error, Forbidden) and error.code is None and now - self._forbidden_at >= AGAIN_SEC:
            self._forbidden_at = now
            self.on_raised()

    def read(self, at: float) -> bool:
        """It is known what the account was then, by the monotonic clock. Whether that ends what a turn was told."""
        if self._logged_out_at is None or at < self._logged_out_at:
            return False
        self._logged_out_at = None
        return True

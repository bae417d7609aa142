"""What msgspec raises for JSON that it cannot take: also for half a character, and for a thousand lists in lists."""

from __future__ import annotations

from typing import Final

import msgspec

UNREADABLE: Final = (msgspec.MsgspecError, UnicodeError, RecursionError)

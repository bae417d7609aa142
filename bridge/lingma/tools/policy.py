"""What the gateway answers when the service's own agent wants to run a tool: denied, unless an operator allowed it."""

from __future__ import annotations

from typing import Final

import msgspec

# The service's agent passes these texts to its model as the error of the tool.
DENIED: Final = "denied: this gateway lets the service run no such tool"
NOT_RUN: Final = "not run: this gateway runs no tools"
NO_RESULT: Final = "the service reported no result"


class Decision(msgspec.Struct, frozen=True):
    """What was decided about one call. As text: `denied run_in_terminal`."""

    name: str
    allowed: bool

    def __str__(self) -> str:
        return f"{'allowed' if self.allowed else 'denied'} {self.name}"

"""What is being read as a call, and how much of it is stored until something of it was sent."""

from __future__ import annotations

from bridge.reply.calls.call_object import CallObject

MOST_HELD = 256 * 1024
"""Characters of a call that are held until its tool and the beginning of its arguments are known."""


class Block:
    """What stands behind a mark. `quoted`: the mark stands in inline code, so it may only be mentioned."""

    def __init__(self, marker: str, call_object: CallObject, *, fenced: bool, quoted: bool) -> None:
        self.marker = marker
        self.call_object = call_object
        self.fenced = fenced
        self.quoted = quoted
        # Its start was emitted: from here on nothing is kept, for it cannot become malformed any more, only broken.
        self.started = False
        self.ended = False
        self.skipped = False
        """It is read to its end, and nothing of it is sent."""
        self.reason = ""
        self.rest = ""
        """The part not yet sent of a call whose JSON broke off."""
        self.ends: tuple[str, ...] = ()
        self.closed = False
        self.raw: list[str] = []
        self.room = MOST_HELD

    def keep(self, text: str) -> None:
        """Remember what was read of it, as far as there is room."""
        if self.room > 0:
            # Pieces and not one string: adding to a string for each chunk is quadratic.
            self.raw.append(text[: self.room])
        self.room -= len(text)

    @property
    def body(self) -> str:
        """The source of the call so far, without its mark, at most `MOST_HELD` characters."""
        return "".join(self.raw)

    @property
    def source(self) -> str:
        """`body` with the mark it began with: what the model is shown when it must correct the call."""
        return self.marker + self.body

"""What is being read as a call, and how much of it is remembered until something of it was told."""

from __future__ import annotations

from bridge.reply.calls.call_object import Envelope

MOST_HELD = 256 * 1024
"""Characters of a call that are held until its tool and the beginning of its arguments are known."""


class Block:
    """What stands behind a mark. `quoted`: the mark stands in inline code, so it may only be spoken of."""

    def __init__(self, marker: str, envelope: Envelope, *, fenced: bool, quoted: bool) -> None:
        self.marker = marker
        self.envelope = envelope
        self.fenced = fenced
        self.quoted = quoted
        self.told = False
        self.ended = False
        self.muted = False
        """It is read to its end and not told."""
        self.reason = ""
        self.rest = ""
        """What is not told yet of the rest of a call whose JSON does not go on."""
        self.ends: tuple[str, ...] = ()
        self.closed = False
        self.raw: list[str] = []
        self.room = MOST_HELD

    def keep(self, text: str) -> None:
        """Remember what was read of it, as far as there is room."""
        if self.room > 0:
            self.raw.append(text[: self.room])
        self.room -= len(text)

    @property
    def body(self) -> str:
        """What was read of it."""
        return "".join(self.raw)

    @property
    def source(self) -> str:
        """The same with what it began with."""
        return self.marker + self.body

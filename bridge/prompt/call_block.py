"""What is being read as a call, and how much of it is remembered until something of it was told."""

from __future__ import annotations

from bridge.prompt.envelope import Envelope

MOST_HELD = 256 * 1024
"""Characters of a call that are held until its tool and the beginning of its arguments are known."""

MOST_GUESSED = 400
"""The same for what may be a call because a model would write one so, without the delimiter."""


class Block:
    """What is being read as a call: begun by the delimiter (`sure`), or by what models write instead of it."""

    def __init__(self, marker: str, envelope: Envelope, *, sure: bool, fenced: bool) -> None:
        self.marker = marker
        self.envelope = envelope
        self.sure = sure
        self.fenced = fenced
        self.told = False
        self.ended = False
        self.as_text = False
        self.reason = ""
        self.ends: tuple[str, ...] = ()
        self.closed = False
        self.raw: list[str] = []
        self.room = MOST_HELD if sure else MOST_GUESSED

    def keep(self, text: str) -> None:
        """Remember what was read of it, as far as there is room."""
        if self.room > 0:
            self.raw.append(text[: self.room])
        self.room -= len(text)

    @property
    def source(self) -> str:
        """What was read of it, with what it began with."""
        return self.marker + "".join(self.raw)

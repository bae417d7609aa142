"""How pushes look on the wire: by default one text frame per message, on request anything a client must survive."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from typing import Literal

from .frames import BINARY, CONTINUATION, PING, TEXT, frame
from .knobs import TurnKnobs


def cut(message: bytes, split: str) -> list[bytes]:
    """`split` is one number, the size of the parts, or a list of positions; a negative one counts from the end."""
    numbers = [int(part) for part in split.split(",")]
    if len(numbers) == 1 and numbers[0] > 0:
        return [message[at : at + numbers[0]] for at in range(0, len(message), numbers[0])]
    places = sorted({min(max(n if n >= 0 else len(message) + n, 0), len(message)) for n in numbers})
    edges = [0, *places, len(message)]
    return [message[low:high] for low, high in pairwise(edges) if high > low]


def fragments(payload: bytes, opcode: int, size: int) -> bytes:
    """One message as a first frame and continuations of `size` bytes."""
    parts = [payload[at : at + size] for at in range(0, len(payload), size)]
    frames = [
        frame(part, CONTINUATION if number else opcode, final=number == len(parts) - 1)
        for number, part in enumerate(parts)
    ]
    return b"".join(frames)


class Quirks:
    """`wrap(message)` gives the bytes that go out; with `merge` it holds messages back until there are enough."""

    def __init__(self, knobs: TurnKnobs) -> None:
        self.ids = knobs.ids
        self._opcode = BINARY if knobs.frame == "binary" else TEXT
        self._split = knobs.split
        self._fragment = knobs.fragment
        self._ping = knobs.ping
        self._merge = knobs.merge
        self._copies = 2 if knobs.duplicate else 1
        self._held: list[bytes] = []
        self.wrap: Callable[[bytes], bytes] = self._wrap if self._odd() else self._wrap_plain

    @staticmethod
    def of(knobs: TurnKnobs, *, websocket: bool) -> Quirks:
        """Plain ones are shared, because they hold nothing."""
        if not websocket:
            return StreamQuirks(knobs)
        quirks = Quirks(knobs)
        return quirks if quirks._odd() else _shared(knobs.ids, quirks._opcode)

    def _odd(self) -> bool:
        return bool(self._split or self._fragment or self._ping or self._merge > 1 or self._copies > 1)

    def _wrap_plain(self, message: bytes) -> bytes:
        size = len(message)
        if 125 < size < 65536:
            return b"%c\x7e%b%b" % (0x80 | self._opcode, size.to_bytes(2, "big"), message)
        return frame(message, self._opcode)

    def _wrap(self, message: bytes) -> bytes:
        self._held += [message] * self._copies
        return self.release() if len(self._held) >= self._merge * self._copies else b""

    def release(self) -> bytes:
        """What is still held back."""
        if not self._held:
            return b""
        whole = b"".join(self._held)
        self._held.clear()
        parts = cut(whole, self._split) if self._split else [whole]
        ping = frame(b"sim", PING) if self._ping else b""
        return b"".join(ping + self._framed(part) for part in parts)

    def _framed(self, part: bytes) -> bytes:
        return fragments(part, self._opcode, self._fragment) if self._fragment else frame(part, self._opcode)


class StreamQuirks(Quirks):
    """A unix socket has no frames; only ids can be odd there."""

    def __init__(self, knobs: TurnKnobs) -> None:
        super().__init__(knobs)
        self.wrap = bytes


@lru_cache(maxsize=8)
def _shared(ids: Literal["int", "string", "none"], opcode: int) -> Quirks:
    return Quirks(TurnKnobs(ids=ids, frame="binary" if opcode == BINARY else "text"))

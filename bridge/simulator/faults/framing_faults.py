"""How pushes look on the wire on request: anything a client must survive."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import msgspec

from bridge.simulator.options.turn_options import TurnOptions
from bridge.simulator.protocol.frames import BINARY, CONTINUATION, PING, TEXT, frame
from bridge.simulator.protocol.push_framing import Framing, Ids, StreamFraming


def framing(options: TurnOptions, *, websocket: bool) -> Framing:
    """The framing of pushes that these options ask for."""
    if not websocket:
        return StreamFraming(options.ids)
    opcode = BINARY if options.frame == "binary" else TEXT
    # The plain framing has a short cut for the usual sizes: most turns have no odd option.
    odd = options.split or options.fragment or options.ping or options.merge > 1 or options.duplicate
    return FaultyFraming(options, opcode) if odd else _plain(options.ids, opcode)


@lru_cache(maxsize=8)
def _plain(ids: Ids, opcode: int) -> Framing:
    """One for all, because it holds nothing back."""
    return Framing(ids, opcode)


def with_frame_faults(options: TurnOptions, faults: frozenset[str]) -> TurnOptions:
    """The options with what F14 does to frames."""
    if "doubled_frames" in faults:
        return msgspec.structs.replace(options, duplicate=True, merge=max(options.merge, 2))
    return options


class FaultyFraming(Framing):
    """Messages merged, cut, doubled, fragmented, or with a ping before each."""

    def __init__(self, options: TurnOptions, opcode: int) -> None:
        super().__init__(options.ids, opcode)
        self._split = options.split
        self._fragment = options.fragment
        self._ping = options.ping
        self._merge = options.merge
        self._copies = 2 if options.duplicate else 1
        self._held: list[bytes] = []

    def _wrap(self, message: bytes) -> bytes:
        self._held += [message] * self._copies
        # b"" is no write at all: the peer sends nothing until the pile is complete.
        return self.release() if len(self._held) >= self._merge * self._copies else b""

    def release(self) -> bytes:
        """The messages that are still held back, as bytes to send; b"" if there are none."""
        if not self._held:
            return b""
        whole = b"".join(self._held)
        self._held.clear()
        parts = cut(whole, self._split) if self._split else [whole]
        # A ping before each part: clients have to answer it wherever it comes.
        ping = frame(b"sim", PING) if self._ping else b""
        return b"".join(ping + self._framed(part) for part in parts)

    def _framed(self, part: bytes) -> bytes:
        return fragments(part, self.opcode, self._fragment) if self._fragment else frame(part, self.opcode)


def cut(message: bytes, split: str) -> list[bytes]:
    """`split` is one number, the size of the parts, or a list of positions; a negative one counts from the end."""
    numbers = [int(part) for part in split.split(",")]
    if len(numbers) == 1 and numbers[0] > 0:
        return [message[at : at + numbers[0]] for at in range(0, len(message), numbers[0])]
    # Places beyond the message fall on its ends, so that one script fits messages of every size.
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

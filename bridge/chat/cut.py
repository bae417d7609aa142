"""Limits the service knows nothing of, enforced on the stream: stop sequences and the number of tokens.

Text and reasoning end within the limit. A call that has begun is sent to its end, for half of one is of no use; behind
the limit no other one begins.
"""

from __future__ import annotations

from bridge.chat.events import FinishReason
from bridge.chat.tokens import beyond, of_size


class Cutter:
    """Feed text, get the text that may be sent. After `reason` is set nothing more may be sent.

    At most one character less than the longest stop sequence is held back; `rest()` gives it up at the end.
    Tokens are estimated from running sums: no text is looked at twice.
    """

    def __init__(self, stop: tuple[str, ...], max_tokens: int | None) -> None:
        self.reason: FinishReason | None = None
        self.stop_sequence: str | None = None
        # An empty stop sequence would match everywhere and end every reply at once.
        self._stop = tuple(each for each in stop if each)
        self._longest = max(map(len, self._stop), default=0)
        self._max_tokens = max_tokens
        self._held = ""
        self._size = self._beyond = 0  # of what was sent

    def feed(self, text: str) -> str:
        """The part of the held text and this one that may be sent now."""
        if self._stop:
            # Stop sequences go first: text behind one must not count towards the tokens.
            text = self._until_stop(self._held + text)
        return text if self._max_tokens is None else self._within_budget(text, self._max_tokens)

    def rest(self) -> str:
        """The text still held back; call it when the reply ends by itself."""
        held, self._held = self._held, ""
        return held if self._max_tokens is None else self._within_budget(held, self._max_tokens)

    def thought(self, text: str) -> str:
        """The part of the reasoning that fits into the token limit."""
        return text if self._max_tokens is None else self._within_budget(text, self._max_tokens)

    def call(self, name: str) -> bool:
        """Whether one more call may be sent. If not, `reason` is set."""
        if self._max_tokens is not None and of_size(self._size, self._beyond) >= self._max_tokens:
            # A call cannot be shortened, so the limit is checked only before it begins; its arguments may then pass the
            # limit.
            self.reason, self.stop_sequence = FinishReason.LENGTH, None
            return False
        self.spend(name)
        return True

    def spend(self, text: str) -> None:
        """Count text that was sent and cannot be shortened."""
        self._size, self._beyond = self._size + len(text), self._beyond + beyond(text)

    def _until_stop(self, text: str) -> str:
        found = [(position, each) for each in self._stop if (position := text.find(each)) >= 0]
        if found:
            # The earliest match wins, not the first in the client's list: behind it nothing exists for the client.
            position, self.stop_sequence = min(found, key=lambda hit: hit[0])
            self.reason = FinishReason.STOP_SEQUENCE
            self._held = ""
            return text[:position]
        keep = self._possible_start(text)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def _possible_start(self, text: str) -> int:
        """Length of the longest end of the text that a stop sequence begins with."""
        # Longest first: to hold back too little could send half of a stop sequence.
        for length in range(min(self._longest - 1, len(text)), 0, -1):
            end = text[-length:]
            if any(each.startswith(end) for each in self._stop):
                return length
        return 0

    def _within_budget(self, text: str, budget: int) -> str:
        if not text:
            return text
        size, more = self._size + len(text), self._beyond + beyond(text)
        # The first comparison is enough for nearly every piece and needs no arithmetic on floats.
        if size <= budget or of_size(size, more) <= budget:  # a token is at least a character
            self._size, self._beyond = size, more
            return text
        # A stop sequence found in this piece lies behind the cut, so it did not end the reply.
        self.reason, self.stop_sequence = FinishReason.LENGTH, None
        return text[: self._fitting(text, budget)]

    def _fitting(self, text: str, budget: int) -> int:
        """How many characters of the text fit: most by halving."""
        low, high = 0, len(text)
        while low < high:
            # Rounded up, or low would stay where it is when one character is left and the loop would not end.
            middle = (low + high + 1) // 2
            if of_size(self._size + middle, self._beyond + beyond(text[:middle])) <= budget:
                low = middle
            else:
                high = middle - 1
        return low

"""Limits the service knows nothing of, enforced on the stream: stop sequences and the number of tokens."""

from __future__ import annotations

from collections.abc import Callable

from bridge.chat.events import FinishReason


class Cutter:
    """Feed text, get the text that may be told. After `reason` is set nothing more may be told.

    At most one character less than the longest stop sequence is held back; `rest()` gives it up at the end.
    `estimate` counts the tokens of a text and never more of them than it has characters.
    """

    def __init__(self, stop: tuple[str, ...], max_tokens: int | None, estimate: Callable[[str], int]) -> None:
        self.reason: FinishReason | None = None
        self.stop_sequence: str | None = None
        self._stop = tuple(each for each in stop if each)
        self._longest = max(map(len, self._stop), default=0)
        self._max_tokens = max_tokens
        self._estimate = estimate
        self._held = ""
        self._told: list[str] = []
        self._told_length = 0

    def feed(self, text: str) -> str:
        """What of the held text and this one may be told now."""
        if self._stop:
            text = self._until_stop(self._held + text)
        return text if self._max_tokens is None else self._within_budget(text, self._max_tokens)

    def rest(self) -> str:
        """What was held back, when the reply ends by itself."""
        held, self._held = self._held, ""
        return held if self._max_tokens is None else self._within_budget(held, self._max_tokens)

    def _until_stop(self, text: str) -> str:
        found = [(position, each) for each in self._stop if (position := text.find(each)) >= 0]
        if found:
            position, self.stop_sequence = min(found, key=lambda hit: hit[0])
            self.reason = FinishReason.STOP_SEQUENCE
            self._held = ""
            return text[:position]
        keep = self._possible_start(text)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def _possible_start(self, text: str) -> int:
        """Length of the longest end of the text that a stop sequence begins with."""
        for length in range(min(self._longest - 1, len(text)), 0, -1):
            end = text[-length:]
            if any(each.startswith(end) for each in self._stop):
                return length
        return 0

    def _within_budget(self, text: str, budget: int) -> str:
        self._told_length += len(text)
        self._told.append(text)
        if self._told_length <= budget:  # a token is at least a character
            return text
        whole = "".join(self._told)
        if self._estimate(whole) <= budget:
            self._told = [whole]
            return text
        self.reason, self.stop_sequence = FinishReason.LENGTH, None
        return text[: len(text) - self._excess(whole, len(text), budget)]

    def _excess(self, whole: str, last: int, budget: int) -> int:
        """How many characters at the end are too many: fewest by halving, at most the last text."""
        low, high = 0, last
        while low < high:
            middle = (low + high) // 2
            if self._estimate(whole[: len(whole) - middle]) <= budget:
                high = middle
            else:
                low = middle + 1
        return low

"""How many tokens a text may have: a cheap estimate, and how far off it has been."""

from __future__ import annotations

from collections.abc import Iterable

from bridge.chat.request import Message

MESSAGE_OVERHEAD = 4
"""Tokens that a message costs beside its text."""


def estimate(text: str) -> int:
    """
    Tokens in the text: a quarter per narrow character, 0.7 per wide one (CJK).

    Never more than there are characters; 0 only for the empty text.
    """
    size = len(text)
    if text.isascii():
        return (size + 3) // 4
    # A wide character has three bytes, so every two bytes beyond one per character count as one wide character.
    wide = (len(text.encode("utf-8", "replace")) - size) / 2
    return min(size, max(1, round(wide * 0.7 + max(0.0, size - wide) / 4)))


def estimate_messages(messages: Iterable[Message]) -> int:
    """Tokens of a whole conversation, tool calls included."""
    return sum(_message(message) for message in messages)


def _message(message: Message) -> int:
    calls = sum(estimate(call.name) + estimate(call.arguments) for call in message.tool_calls)
    return MESSAGE_OVERHEAD + estimate(message.text) + calls


class Ratio:
    """A moving average of real to estimated tokens, kept between 0.25 and 4."""

    LEAST, MOST = 0.25, 4.0

    def __init__(self, weight: float = 0.1) -> None:
        self.value = 1.0
        self._weight = weight

    def learn(self, estimated: int, real: int) -> None:
        """Take one turn into account; figures that say nothing are left out."""
        if estimated > 0 and real > 0:
            seen = min(max(real / estimated, self.LEAST), self.MOST)
            self.value += self._weight * (seen - self.value)

    def apply(self, estimated: int) -> int:
        """The estimate, corrected. At least 1 unless it was 0."""
        return max(1, round(estimated * self.value)) if estimated > 0 else 0


class Calibration:
    """What the service's own figures taught about the estimates, for prompts and for replies."""

    def __init__(self, weight: float = 0.1) -> None:
        self.input = Ratio(weight)
        self.output = Ratio(weight)

"""How many tokens a text may have: a cheap estimate, and how far off it has been."""

from __future__ import annotations

from collections.abc import Iterable

from bridge.chat.request import Message, Tool

MESSAGE_OVERHEAD = 4
"""Tokens that a message costs beside its text."""

IMAGE = 1500
"""Tokens of an image: what models charge for one of the usual size."""


def estimate(text: str) -> int:
    """
    Tokens in the text: a quarter per narrow character, 0.7 per wide one (CJK).

    Never more than there are characters; 0 only for the empty text.
    """
    return (len(text) + 3) // 4 if text.isascii() else of_size(len(text), beyond(text))


def beyond(text: str) -> int:
    """Bytes of the text beyond one per character."""
    return 0 if text.isascii() else len(text.encode("utf-8", "replace")) - len(text)


def of_size(size: int, beyond: int) -> int:
    """The estimate for a text of so many characters, and so many bytes beyond one for each. Both add up over pieces."""
    if not beyond:
        return (size + 3) // 4
    # A wide character has three bytes, so every two bytes beyond one per character count as one wide character.
    wide = beyond / 2
    return min(size, max(1, round(wide * 0.7 + max(0.0, size - wide) / 4)))


def estimate_messages(messages: Iterable[Message], tools: Iterable[Tool] = ()) -> int:
    """Tokens of a whole conversation: texts, calls, images, and the definitions of the tools."""
    defined = [MESSAGE_OVERHEAD + (len(tool.name) + len(tool.description) + len(tool.schema)) // 4 for tool in tools]
    return sum(map(_message, messages)) + sum(defined)


def _message(message: Message) -> int:
    tokens = MESSAGE_OVERHEAD + estimate(message.text) + IMAGE * len(message.images)
    for call in message.tool_calls:
        tokens += estimate(call.name) + estimate(call.arguments)
    return tokens


class Fit:
    """Real tokens as a straight line over estimated ones, learnt from turns whose real figures are known.

    The service puts a prompt of its own before each question: the line does not begin at 0. Old turns fade away, each
    new one counts `weight`.
    """

    LEAST, MOST = 0.25, 4.0  # of the slope

    def __init__(self, weight: float = 0.1) -> None:
        self._weight = weight
        self._known = False
        self._estimated = self._real = 0.0  # means
        self._spread = self._together = 0.0  # variance of the estimates, covariance

    def learn(self, estimated: int, real: int) -> None:
        """Take one turn into account; figures that say nothing are left out."""
        if estimated <= 0 or real <= 0:
            return
        weight = self._weight if self._known else 1.0
        self._known = True
        off_estimated, off_real = estimated - self._estimated, real - self._real
        self._estimated += weight * off_estimated
        self._real += weight * off_real
        self._spread = (1 - weight) * (self._spread + weight * off_estimated**2)
        self._together = (1 - weight) * (self._together + weight * off_estimated * off_real)

    def apply(self, estimated: int) -> int:
        """The estimate, corrected. At least 1 unless it was 0."""
        if estimated <= 0:
            return 0
        if not self._known:
            return estimated
        slope = self._together / self._spread if self._spread >= 1 else 1.0
        slope = min(max(slope, self.LEAST), self.MOST)
        return max(1, round(max(0.0, self._real - slope * self._estimated) + slope * estimated))


class Calibration:
    """What the service's own figures taught about the estimates, for prompts and for replies."""

    def __init__(self, weight: float = 0.1) -> None:
        self.input = Fit(weight)
        self.output = Fit(weight)

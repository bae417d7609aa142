"""How many tokens a text may have: a cheap estimate, and how far off it has been."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from bridge.chat.request import Message, Tool

MESSAGE_OVERHEAD = 4
"""Tokens that a message costs beside its text."""

Line = tuple[float, float]
"""Real tokens where nothing is estimated, and more of them for each estimated one."""
PLAIN: Line = (0.0, 1.0)
MOST_SAMPLED = 15  # keys, for what is usual

IMAGE = 1500
"""Tokens of an image: what models charge for one of the usual size."""


def estimate(text: str) -> int:
    """
    Tokens in the text: a quarter per narrow character, 0.7 per wide one (CJK).

    Never more than there are characters; 0 only for the empty text.
    """
    return (len(text) + 3) // 4 if text.isascii() else of_size(len(text), beyond(text))


def beyond(text: str) -> int:
    """UTF-8 bytes of the text beyond one for each character; 0 for ASCII."""
    # isascii is a flag in the string's header, so the common case costs nothing.
    return 0 if text.isascii() else len(text.encode("utf-8", "replace")) - len(text)


def of_size(size: int, beyond: int) -> int:
    """The estimate for a text of so many characters, and so many bytes beyond one for each. Both add up over pieces."""
    if not beyond:
        return (size + 3) // 4
    # A wide character has three bytes, so every two bytes beyond one per character count as one wide character.
    wide = beyond / 2
    return min(size, max(1, round(wide * 0.7 + max(0.0, size - wide) / 4)))


def estimate_messages(messages: Iterable[Message], tools: Iterable[Tool] = (), reply_schema: bytes = b"") -> int:
    """Tokens of a whole request: texts, calls, images, the definitions of the tools, and the schema of the reply."""
    defined = [MESSAGE_OVERHEAD + (len(tool.name) + len(tool.description) + len(tool.schema)) // 4 for tool in tools]
    demanded = MESSAGE_OVERHEAD + len(reply_schema) // 4 if reply_schema else 0
    return sum(map(_message, messages)) + sum(defined) + demanded


def _message(message: Message) -> int:
    tokens = MESSAGE_OVERHEAD + estimate(message.text) + IMAGE * len(message.images)
    for call in message.tool_calls:
        tokens += estimate(call.name) + estimate(call.arguments)
    return tokens


class Fit:
    """Real tokens as a straight line over estimated ones, learnt from turns whose real figures are known.

    The service puts a prompt of its own before each question, `most_added` tokens at most: the line does not begin at
    0. Old turns fade away, each new one counts `weight`. Until there is something to learn from, the line is
    `default`.
    """

    __slots__ = ("_default", "_estimated", "_has_learnt", "_most_added", "_real", "_spread", "_together", "_weight")

    LEAST, MOST = 0.25, 4.0  # of the slope
    MOST_ADDED = 16384.0  # tokens of the service's own prompt; more than that is a slope

    def __init__(self, weight: float = 0.1, default: Line = PLAIN, most_added: float = MOST_ADDED) -> None:
        self._weight = weight
        self._most_added = most_added
        self._default = default
        self._has_learnt = False
        self._estimated = self._real = 0.0  # means
        self._spread = self._together = 0.0  # variance of the estimates, covariance

    def learn(self, estimated: int, real: int) -> None:
        """Take one turn into account; figures that say nothing are left out."""
        if estimated <= 0 or real <= 0:
            return
        # The first turn replaces the zeros; blended with them it would pull the line towards 0.
        weight = self._weight if self._has_learnt else 1.0
        self._has_learnt = True
        # Exponentially weighted mean and covariance, updated in one pass: no turn has to be kept.
        off_estimated, off_real = estimated - self._estimated, real - self._real
        self._estimated += weight * off_estimated
        self._real += weight * off_real
        self._spread = (1 - weight) * (self._spread + weight * off_estimated**2)
        self._together = (1 - weight) * (self._together + weight * off_estimated * off_real)

    def apply(self, estimated: int) -> int:
        """The estimate, corrected. At least 1 unless it was 0."""
        if estimated <= 0:
            return 0
        added, slope = self.line()
        return max(1, round(added + slope * estimated))

    def line(self) -> Line:
        """The line in use: tokens at an estimate of 0, and real tokens for each estimated one."""
        if not self._has_learnt:
            return self._default
        # With turns of nearly one size the slope is noise, so the default one stays until the estimates differ.
        slope = self._together / self._spread if self._spread >= 1 else self._default[1]
        # One strange turn must not make later ones several times too dear.
        slope = min(max(slope, self.LEAST), self.MOST)
        # The line goes through the mean of the turns, unless it would begin below 0.
        added = max(0.0, self._real - slope * self._estimated)
        if added > self._most_added:
            added = self._most_added
            # The rest above the bound has to be slope, or the line would miss the mean.
            slope = min(max((self._real - added) / self._estimated, self.LEAST), self.MOST)
        return added, slope


class Calibration:
    """What the service's own figures taught about the estimates, for prompts and for replies."""

    __slots__ = ("input", "output")

    def __init__(self, weight: float = 0.1, prompts: Line = PLAIN, replies: Line = PLAIN) -> None:
        self.input = Fit(weight, prompts)
        # Nothing is put before a reply: a few similar ones must not make a reply of one word as dear as they were.
        self.output = Fit(weight, replies, most_added=0.0)


UNCORRECTED = Calibration()


class Calibrations:
    """A calibration for each key: its requests and replies change nothing for the others.

    A key without figures of its own gets what is usual among those that had some last. The keys that have had none for
    longest are forgotten.
    """

    def __init__(self, most: int = 4096) -> None:
        self._most = most
        self._by_key: dict[int, Calibration] = {}
        """The key that had figures last is the last."""

    def of(self, key: int) -> Calibration:
        if not self._by_key:  # many services report no figures
            return UNCORRECTED
        return self._by_key.get(key) or self._usual()

    def learning(self, key: int) -> Calibration:
        """The key's own calibration, made if needed: call it only when there are figures to learn from."""
        # Taken out and put in again: dicts keep insertion order, so the first key is the one without figures for
        # longest.
        calibration = self._by_key.pop(key, None) or self._usual()
        self._by_key[key] = calibration
        if len(self._by_key) > self._most:
            del self._by_key[next(iter(self._by_key))]
        return calibration

    def _usual(self) -> Calibration:
        if not self._by_key:
            return Calibration()
        # A median over the latest few: a single key with odd prompts cannot move it for the others.
        latest = list(islice(reversed(self._by_key.values()), MOST_SAMPLED))
        return Calibration(
            prompts=_middle([each.input.line() for each in latest]),
            replies=_middle([each.output.line() for each in latest]),
        )


def _middle(lines: list[Line]) -> Line:
    """The median of where they begin, and that of their slopes; of two the lower one."""
    middle = (len(lines) - 1) // 2
    return sorted(added for added, _ in lines)[middle], sorted(slope for _, slope in lines)[middle]

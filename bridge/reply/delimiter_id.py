"""Reasoning without the delimiter id of its session, which no client may learn. Pure."""

from __future__ import annotations

REPLACEMENT = "…"
"""Something stands there, so that what is left on either side cannot make the id again."""


class DelimiterIdFilter:
    """Feed reasoning, get what may be sent: the end that may be the beginning of the id waits for the next piece."""

    def __init__(self, delimiter_id: str) -> None:
        self.held = ""
        self._id = delimiter_id

    def feed(self, text: str) -> str:
        delimiter_id = self._id
        if self.held:
            text, self.held = self.held + text, ""
        if delimiter_id in text:
            text = text.replace(delimiter_id, REPLACEMENT)
        first = delimiter_id[0]
        # The longest end counts, so the search goes forwards.
        at = text.find(first, max(0, len(text) - len(delimiter_id) + 1))
        while at >= 0:
            if delimiter_id.startswith(text[at:]):
                self.held = text[at:]
                return text[:at]
            at = text.find(first, at + 1)
        return text

    def end(self) -> str:
        """What is held, when no more reasoning follows: less than the id, and withheld if it is most of it."""
        held, self.held = self.held, ""
        return held if 2 * len(held) <= len(self._id) else REPLACEMENT

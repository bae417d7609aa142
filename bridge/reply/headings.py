"""A reply in which the model goes on as somebody else: it ends before the first heading of the session's prompts."""

from __future__ import annotations

from bridge.prompt.compose import headings
from bridge.reply.calls.delimiters import begins_heading

_LONGEST = 80  # characters of a heading with its mark


class HeadingGuard:
    """Feed the text of a reply, get what is the model's own. Only a line that may be a heading is held back."""

    # On the class, and made with the first bracket: most replies have none.
    _headings: tuple[str, ...] = ()

    def __init__(self, mark: str) -> None:
        self.ended = False
        """A heading came: nothing more is sent."""
        self._mark = mark
        self._last = "\n"
        self._held = ""

    def passes(self, text: str) -> bool:
        """Whether the text can be sent as it is: then it need not be fed."""
        # The only test a plain chunk pays for.
        if "[" in text or self._held or self.ended:
            return False
        self._last = text or self._last
        return True

    def feed(self, text: str) -> str:
        if self.passes(text):
            return text
        if self.ended:
            return ""
        text, self._held = self._held + text, ""
        self._headings = self._headings or headings(self._mark)
        new_line, at = self._last[-1] == "\n", -1
        while (at := text.find("[", at + 1)) >= 0:
            # Headings stand at the beginning of a line; elsewhere a bracket is text.
            if not (text[at - 1] == "\n" if at else new_line):
                continue
            if text.startswith(self._headings, at):
                self.ended = True
                return text[:at]
            # Cut off by the end of the piece: it waits, and nothing of the mark gets out.
            if len(text) - at < _LONGEST and any(each.startswith(text[at:]) for each in self._headings):
                self._held = text[at:]
                text = text[:at]
                break
        self._last = text or self._last
        return text

    def end(self) -> str:
        """What was held back, when the reply ends; no part of the mark."""
        held, self._held = self._held, ""
        return "" if not held or begins_heading(held, self._headings) else held

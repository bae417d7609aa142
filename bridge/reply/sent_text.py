"""The text of a reply as it is sent: white space around calls waits for text behind them."""

from __future__ import annotations

from bridge.chat.events import TextDelta
from bridge.reply.quoting import Fences

# A model in a loop writes endless line breaks; more than this is sent as it comes.
MOST_SPACE = 64
SPACE = " \t\r\n"


class SentText:
    """The text so far, and white space that was not sent yet."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.space = ""
        self.behind_call = False
        self._gap = ""
        self._fences = Fences()
        self._pieces_read = 0  # how many of the pieces the fences have seen

    def add(self, text: str) -> list[TextDelta]:
        sent = self.pass_on(text)
        return [TextDelta(sent)] if sent else []

    def pass_on(self, text: str) -> str:
        """Tell text, but for white space at its end: a call may follow."""
        if self.behind_call:
            bare = text.lstrip()
            # Cut to the end of it: white space around a call carries no meaning.
            self.space = (self.space + text[: len(text) - len(bare)])[-MOST_SPACE:]
            if not bare:
                return ""
            # Of the white space before and behind a call the longer one stays, so that paragraphs stay apart and no gap
            # doubles.
            around = max(self._gap, self.space, key=len) if self.pieces else ""
            text, self.space, self._gap, self.behind_call = around + bare, "", "", False
        if not text:
            return ""
        text = self.space + text
        end = max(len(text.rstrip(SPACE)), len(text) - MOST_SPACE)
        self.space = text[end:]
        if not end:
            return ""
        text = text[:end]
        self.pieces.append(text)
        return text

    def call(self) -> None:
        """A call comes: white space before it is sent only when text follows."""
        self._gap = max(self._gap, self.space, key=len)
        self.space = ""

    def end(self) -> list[TextDelta]:
        space, self.space = self.space, ""
        return [TextDelta(space)] if space and not self.behind_call else []

    @property
    def text(self) -> str:
        return "".join((*self.pieces, self.space))

    @property
    def begins_line(self) -> bool:
        """What comes next begins a line."""
        if self.space:
            return self.space[-1] == "\n"
        # A block of calls ends its line, whatever the model wrote behind the mark.
        return self.behind_call or not self.pieces

    def in_fence(self) -> bool:
        """Whether a code fence is open behind the text so far."""
        self._fences.feed("".join(self.pieces[self._pieces_read :]))
        self._pieces_read = len(self.pieces)
        return self._fences.is_open(self.space)

    def ends_in_tick(self, more: str) -> bool:
        """Whether, with `more` behind it, the text ends in a backtick."""
        if more or self.space or not self.pieces:
            return more[-1:] == "`"
        return self.pieces[-1][-1] == "`"

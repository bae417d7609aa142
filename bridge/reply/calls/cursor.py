"""A place in a text of which more may come: tokens, tags and JSON are read from it, or more is needed."""

from __future__ import annotations

import re

from bridge.reply.calls.json_value import ParseStopped, TooLong, Value, read_on

MOST_TOKENS = 10_000
"""Of JSON in what is read as calls. A text is about one of them, however long it is."""
TAG = 50
"""Tokens that a call or a parameter counts as, beside its JSON."""

_SPACE = re.compile(r"\s*")
_LONGEST_TOKEN = 40


# Exceptions and no results: a reader may be six calls deep in a block when the text runs out, and then starts from its
# beginning the next time.
class MoreNeeded(Exception):
    """What stands there may become a call, or is one as far as it goes."""


class NoCall(Exception):
    """What stands before `at` is no call, whatever follows."""

    def __init__(self, at: int) -> None:
        super().__init__(at)
        self.at = at


class TooMuch(NoCall):
    """It has more tokens than calls have: nothing behind `at` is one either."""


class Cursor:
    """Reads on from `at`. Whether something can be read never depends on how much stands behind it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.is_complete = False
        """All calls so far are complete: the reply may end here."""
        self.tokens = MOST_TOKENS
        """How many more may be read."""

    def space(self) -> None:
        """Skip white space. Raise MoreNeeded at the end of the text."""
        found = _SPACE.match(self.text, self.at)
        self.at = found.end() if found else self.at
        if self.at == len(self.text):
            raise MoreNeeded

    def take(self, *tokens: str) -> str:
        """Read one of the tokens, if one stands here. Raise MoreNeeded when more text has to decide."""
        for token in tokens:
            if self.text.startswith(token, self.at):
                self.at += len(token)
                return token
        tail = self.text[self.at : self.at + _LONGEST_TOKEN]
        if any(token.startswith(tail) for token in tokens):
            raise MoreNeeded
        return ""

    def expect(self, *tokens: str) -> str:
        """Read one of the tokens, behind white space. Raise NoCall when none stands here."""
        self.space()
        found = self.take(*tokens)
        if not found:
            raise NoCall(self.at)
        return found

    def until(self, token: str, most: int) -> str:
        """What stands before the token, at most so many characters; the token is read too."""
        # Bounded, so that a missing token is not searched for through all the text.
        end = self.text.find(token, self.at, self.at + most + len(token))
        if end < 0:
            if len(self.text) - self.at >= most + len(token):
                raise NoCall(self.at)
            raise MoreNeeded
        found = self.text[self.at : end]
        self.at = end + len(token)
        return found

    def spend(self, tokens: int) -> None:
        self.tokens -= tokens
        if self.tokens < 0:
            raise TooMuch(self.at)

    def value(self, closer: re.Pattern[str], nexts: tuple[str, ...]) -> str:
        """A text up to its closing tag, which is read too. One behind which the call does not go on is text."""
        start = self.at
        while True:
            found = closer.search(self.text, self.at)
            if found is None:
                raise MoreNeeded
            # A text full of closing tags would otherwise cost a search for each one, each time the text is read again.
            self.spend(1)
            self.at = found.end()
            self.space()
            at = self.at
            # Code inside a value can hold the closing tag itself; only one that the notation goes on behind is real
            # (PROTOCOL 14.5, no. 12).
            if self.take(*nexts):
                # The next token is only peeked at: its reader takes it.
                self.at = at
                return self.text[start : found.start()]
            self.at = found.end()

    def json(self) -> str:
        """One JSON value, strict and compact. Raise NoCall where it is no JSON."""
        value = Value([])
        try:
            at = read_on(value, self.text, self.at, self.tokens)
        except TooLong:
            raise TooMuch(self.at) from None
        except ParseStopped as problem:
            raise NoCall(max(problem.at, self.at)) from None
        self.at = at
        # Tokens are paid for once the value is whole; until then `read_on` bounds them.
        if not value.done:
            raise MoreNeeded
        self.spend(len(value.out))
        return "".join(value.out)

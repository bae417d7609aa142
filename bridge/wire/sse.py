"""Server-sent events: JSON text that is safe in a `data:` line, and the frames around it."""

from __future__ import annotations

from typing import Any

import msgspec

COMMENT = b": keep-alive\n\n"
"""What keeps a stream without events of its own alive."""

DONE = b"data: [DONE]\n\n"
"""OpenAI's last line of a good stream."""

_END = b"\n\n"

_encode = msgspec.json.Encoder().encode

# Legal inside JSON strings, but the line splitters of simple clients break there. Being whole UTF-8 sequences they
# occur nowhere else in a JSON text, so they can be replaced in its bytes. (VT, FF and FS to RS, JSON escapes itself.)
_LINE_BREAKS = ((b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029"), (b"\xc2\x85", b"\\u0085"))


def json_text(text: str) -> bytes:
    """The text as a JSON string with its quotes, in one line for every client."""
    # The checks run on the string: three searches in it cost 25 ns, in the encoded bytes 300 ns.
    if text.isascii() or not ("\u2028" in text or "\u2029" in text or "\x85" in text):
        return _encode(text)
    return one_line(_encode(text))


def data(payload: Any) -> bytes:
    return b"data: %b\n\n" % one_line(_encode(payload))


def named(event: str, payload: Any) -> bytes:
    return b"event: %b\n%b" % (event.encode(), data(payload))


def one_line(json: bytes) -> bytes:
    """The JSON text without what breaks lines for simple clients."""
    if json.isascii():
        return json
    for raw, escaped in _LINE_BREAKS:
        json = json.replace(raw, escaped)
    return json


class WholeEvents:
    """A stream that is passed on event by event: nothing of one goes on before its end has come."""

    __slots__ = ("_rest", "count")

    def __init__(self) -> None:
        self.count = 0
        """Events that went on."""
        self._rest = bytearray()

    def feed(self, part: bytes) -> bytes:
        """The events that this part ends; b"" for none."""
        begin = max(len(self._rest) - 1, 0)  # an end may lie across two parts
        self._rest += part
        end = self._rest.rfind(_END, begin) + len(_END)
        if end < len(_END):
            return b""
        self.count += self._rest.count(_END, begin, end)
        whole = bytes(self._rest[:end])
        del self._rest[:end]
        return whole

    @property
    def rest(self) -> bytes:
        """What has no end yet."""
        return bytes(self._rest)

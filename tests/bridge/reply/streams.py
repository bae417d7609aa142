"""Streams cut into pieces in every way, and what came out of them put together again."""

import itertools

from hypothesis import strategies as st

from bridge.chat.events import TextDelta, ThinkingDelta, ToolCallDelta
from bridge.chat.request import Tool
from bridge.reply.calls.parser import CallParser, CallRules

DELIMITER_ID = "k3x9qa72mb"
OPEN, CLOSE = f"<call:{DELIMITER_ID}>", f"</call:{DELIMITER_ID}>"
TOOLS = (
    Tool("read_file"),
    Tool("Bash"),
    Tool("apply_patch", custom=True),
    Tool("stat__x", wire_name="stat", namespace="fs"),
)


def merged(events):
    """Deltas that follow each other become one."""
    together = []
    for event in events:
        last = together[-1] if together else None
        if type(event) is type(last) and isinstance(event, TextDelta | ThinkingDelta | ToolCallDelta):
            together[-1] = type(event)(last.text + event.text)
        else:
            together.append(event)
    return together


def parser(tools=TOOLS, **rules):
    numbers = itertools.count(1)
    return CallParser(DELIMITER_ID, tools, lambda: f"call_{next(numbers)}", CallRules(**rules))


def fed(reader, pieces):
    """All events of a stream, and its end."""
    return [event for piece in pieces for event in reader.feed(piece)] + reader.end()


def sliced(text, size):
    return [text[i : i + size] for i in range(0, len(text), size)]


def cut(text, data):
    """A way to cut a text that hypothesis chooses."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]

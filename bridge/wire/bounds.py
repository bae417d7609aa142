"""How much a body may hold beside its bytes: a small body must not become a large tree, nor a name a large reply."""

from __future__ import annotations

import re
from collections.abc import Sequence, Sized
from typing import Any

import msgspec

from bridge.wire.bodies import FieldError, Path, decode, text_at

MOST_TOKENS = 400_000
"""Strings, brackets and commas of a body. A conversation of 200,000 tokens of text has a tenth of them."""

SMALL = 1 << 20
"""Bytes below which a body is not worth counting in: what it can hold is no more than what a large one may."""

MOST_MESSAGES = 20_000
MOST_TOOLS = 1024
LONGEST_NAME = 256
"""Characters of a model's or a tool's name; a model's name stands in every chunk of a stream."""

LONGEST_STOP = 256
"""Characters of a stop sequence: so many may be held back of a stream."""

LONGEST_ID = 1 << 14
"""Other gateways put signatures of a few KiB into the ids of calls."""

MOST_CHOICE = 1 << 16
"""Bytes of a tool choice."""

STRIDE = 4000
# Everything but white space and numbers is counted, a string as one, a stride at a time: nothing is tried twice.
_STRIDE = re.compile(rb'(?:[^"{\[,]*+(?:"(?:[^"\\]++|\\.)*+"?+|[{\[,])){%d}' % STRIDE, re.DOTALL)
_COUNTED = b'"{[,'
_ANYTHING = msgspec.json.Decoder()


def is_crowded(json: bytes) -> bool:
    """Whether the text holds more values than a body may."""
    if len(json) <= SMALL:
        return False
    found = len(json) - len(json.translate(None, _COUNTED))
    if found <= MOST_TOKENS:
        return False  # most that is counted there stands in strings: an exact count costs ten times as much
    # Enough for files of code: a quote behind a single backslash bounds no string, and of the others each has two.
    quotes = json.count(b'"')
    ends = quotes - json.count(b'\\"') + json.count(b'\\\\"')
    if found - quotes + (ends + 1) // 2 <= MOST_TOKENS:
        return False
    place = 0
    for _ in range(MOST_TOKENS // STRIDE):
        stride = _STRIDE.match(json, place)
        if stride is None:
            return False
        place = stride.end()
    return True


def bounded(body: bytes, lists: Sequence[str]) -> bytes:
    """The body, if it holds no more values than it may. Raise a FieldError that names the largest of `lists`."""
    if not is_crowded(body):
        # Small bodies and those with few tokens are all there is in practice: the slow way below only words the
        # refusal.
        return body
    # A dict of all that is there would itself be large.
    fields = msgspec.defstruct("_Lists", [(name, msgspec.Raw, msgspec.Raw()) for name in lists])
    found = decode(msgspec.json.Decoder(fields), body)
    sizes = {name: len(getattr(found, name)) for name in lists}
    largest = max(sizes, key=sizes.__getitem__)
    # Only a list that is more than half of the body is blamed by name; else the refusal speaks of the whole body.
    path: Path = (largest,) if sizes[largest] * 2 > len(body) else ()
    raise FieldError(
        "invalid_value", path, reason=f"It holds more than {MOST_TOKENS} strings, objects and other values."
    )


def at_most(most: int, items: Sized, path: Path) -> None:
    """Raise a FieldError for a list that is too long."""
    if len(items) > most:
        raise FieldError("invalid_value", path, reason=f"There are {len(items)} of them; at most {most} are supported.")


def name_at(value: str | None, path: Path) -> str:
    """The name, if there is one that can be shown: it goes into logs, headers and every chunk. Raise a FieldError."""
    if not value:
        raise FieldError("missing_required_parameter", path)
    if len(value) > LONGEST_NAME:
        raise FieldError("invalid_value", path, reason=f"It has more than {LONGEST_NAME} characters.")
    if not value.isprintable():
        raise FieldError("invalid_value", path, reason="It has characters that cannot be printed.")
    return value


def tool_name_at(value: str | None, path: Path) -> str:
    """A tool's name: like a model's, but an empty one is there and wrong. Raise a FieldError."""
    if value == "":
        raise FieldError("invalid_value", path, reason="A tool needs a name.")
    return name_at(value, path)


def id_at(value: object, path: Path) -> str:
    """The id of a call, whoever made it. Raise a FieldError."""
    found = value if isinstance(value, str) else text_at(value, path)
    if len(found) > LONGEST_ID:
        raise FieldError("invalid_value", path, reason=f"It has more than {LONGEST_ID} characters.")
    return found


def choice_at(raw: msgspec.Raw, path: Path) -> Any:
    """A tool choice, decoded; None if there is none. Raise a FieldError for one that could only be large by malice."""
    if not len(raw):
        return None
    if len(raw) > MOST_CHOICE:
        raise FieldError("invalid_value", path, reason=f"It has more than {MOST_CHOICE} bytes.")
    return decode(_ANYTHING, raw, path)


def stops_at(stops: list[str], most: int, path: Path) -> tuple[str, ...]:
    """The stop sequences; empty ones stop nothing. Raise a FieldError for too many or too long ones."""
    if len(stops) > most:
        raise FieldError("invalid_value", path, reason=f"At most {most} sequences are supported.")
    for index, sequence in enumerate(stops):
        if len(sequence) > LONGEST_STOP:
            raise FieldError("invalid_value", (*path, index), reason=f"It has more than {LONGEST_STOP} characters.")
    return tuple(sequence for sequence in stops if sequence)


def shown(text: str, most: int = 64) -> str:
    """A client's words inside ours: short, and in characters that can be printed."""
    # Cut first, for the same reason as in titles of files: the loop below costs time per character.
    cut = text if len(text) <= most else text[: most - 1] + "…"
    return "".join(each if each.isprintable() else "�" for each in cut)

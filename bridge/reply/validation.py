"""Whether the arguments of a call are what its tool's schema asks for."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

from bridge.chat.request import Tool
from bridge.prompt.tool_signature import MAX_SIGNATURE, signature_of
from bridge.prompt.type_text import UNKNOWN, Limits, TypeText, flat
from bridge.prompt.weighted_cache import WeightedCache
from bridge.reply.calls.json_string import paired
from bridge.schema import validator
from gateway_project.lib.json_errors import UNREADABLE

_SURROGATE = re.compile(r"[\ud800-\udfff]|\\u[dD][89a-fA-F]")
_LARGEST_SCHEMA = 64 * 1024
# Checked in one go on the loop, so there is a bound; beyond it a call is passed on unchecked.
_LARGEST_VALUE = 1 << 20  # characters
_MOST_NODES = 2400
_LONGEST_LINE = 300
_MOST_SHOWN = 1000  # characters of the schema in a correction


class Schema(msgspec.Struct, frozen=True):
    """A schema that has been read. `whole`: the model was shown all of it, so values may be checked by it."""

    root: Any
    signature: str
    whole: bool


class Verdict(msgspec.Struct, frozen=True):
    """What is wrong with a value, quoted to the model; "" for nothing. `checked`: all of it was compared."""

    problem: str = ""
    checked: bool = True


VALID, UNCHECKED = Verdict(), Verdict(checked=False)

_schemas: WeightedCache[Schema] = WeightedCache(8 * _LARGEST_SCHEMA)


def problem_of(tool: Tool, arguments: str) -> str | None:
    """What is wrong with the arguments, for the model; None when they are valid or cannot be checked."""
    return check_arguments(tool, arguments).problem or None


def check_arguments(tool: Tool, arguments: str) -> Verdict:
    """Whether the arguments of a call fit its tool."""
    if tool.custom:
        return VALID
    if len(arguments) > _LARGEST_VALUE:
        return UNCHECKED
    value = decoded(arguments)
    if value is NOTHING:
        return Verdict("the arguments are no valid JSON")
    if not isinstance(value, dict):
        return Verdict("the arguments are no JSON object")
    if not tool.schema:
        return VALID
    schema = schema_of(tool.schema)
    # The model cannot keep to what it was not shown, so it is not held to it.
    if schema is None or not schema.whole:
        return UNCHECKED
    return check(schema, value, shown=f"The parameters of {tool.name}: {schema.signature}")


def check(schema: Schema, value: Any, shown: str = "") -> Verdict:
    """Judge a value. `shown` is the whole schema in words; when it is long, the parts concerned are shown instead."""
    try:
        found = validator.violations(schema.root, value)
    # In doubt for the model: the client checks arguments too.
    except validator.TooMuch:
        return UNCHECKED
    if not found:
        return VALID
    # One line each: the message goes into a prompt.
    lines = [_line(each) for each in found]
    if len(found) == validator.MOST_VIOLATIONS:
        lines.append("there may be more of this kind")
    problem = lines[0] if len(lines) == 1 else "\n" + "\n".join(f"- {line}" for line in lines)
    return Verdict(f"{problem}\n{shown if 0 < len(shown) <= _MOST_SHOWN else _parts(schema.root, found)}")


NOTHING = object()
"""The result of `decoded` for a text that is no JSON; None is the value of `null`."""


def decoded(text: str) -> Any:
    """The value that a JSON text stands for; NOTHING if it is none."""
    try:
        return msgspec.json.decode(text)
    except UNREADABLE:
        pass
    try:
        value = json.loads(text)  # more lenient: numbers beyond a float, and halves of surrogate pairs
        # Such a half would end the turn where it is quoted to the model: UTF-8 cannot write it.
        return json.loads(paired(json.dumps(value, ensure_ascii=False))) if _SURROGATE.search(text) else value
    except (ValueError, RecursionError):
        return NOTHING


def schema_of(schema: bytes) -> Schema | None:
    """None for a schema that is none, or too large to check by. Agents send the same ones each time."""
    if len(schema) > _LARGEST_SCHEMA:
        return None
    if (remembered := _schemas.get(schema)) is not None:
        return remembered
    try:
        root = msgspec.json.decode(schema)
        # The same text that the prompt shows: what it leaves out makes `whole` false.
        signature = signature_of(root, Limits(_MOST_NODES))
    except UNREADABLE:
        return None
    return _schemas.put(schema, Schema(root, signature.text, signature.whole), len(schema))


def _line(violation: validator.Violation) -> str:
    line = str(violation)
    return line if len(line) <= _LONGEST_LINE else f"{line[: _LONGEST_LINE - 3]}..."


def _parts(root: Any, found: list[validator.Violation]) -> str:
    """The parts of the schema that say so, as types."""
    shown_parts: dict[str, None] = {}
    room = _MOST_SHOWN
    for violation in found:
        text = part_text(root, violation.schema, room)
        # Several violations of one part, such as missing members, show it once.
        if text in shown_parts:
            continue
        room -= len(text)
        if room < 0:
            break
        shown_parts[text] = None
    return f"Allowed there: {'; '.join(shown_parts)}" if shown_parts else ""


def part_text(root: Any, node: Any, room: int = MAX_SIGNATURE) -> str:
    # naming=None: references get names, since the part alone is shown without what surrounds it.
    writer = TypeText(root, Limits(nodes=200, chars=max(room, 0)), naming=None)
    text = flat(writer.type(node))
    return text + writer.definitions() if text != UNKNOWN else text

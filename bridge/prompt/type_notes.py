"""What a schema demands of a value beside its type, in words: sizes, bounds, formats. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from bridge.schema import parts as schema_parts
from bridge.schema.formats import CHECKED


def _size(node: dict[str, Any], least: str, most: str, unit: str) -> Iterable[str]:
    low, high = schema_parts.number(node, least), schema_parts.number(node, most)
    # "1 item", "at most 3 items", "0 to 1 item": the unit follows the larger bound.
    units = unit if 1 in (high, low if high is None else high) else f"{unit[:-1]}ies" if unit[-1] == "y" else f"{unit}s"
    if low is not None and high is not None:
        yield f"{low} {units}" if low == high else f"{low} to {high} {units}"
    elif low:
        yield f"at least {low} {units}"
    elif high is not None:
        yield f"at most {high} {units}"


def _of_strings(node: dict[str, Any]) -> Iterable[str]:
    name = node.get("format")
    if isinstance(name, str) and name in CHECKED:
        yield name
    yield from _size(node, "minLength", "maxLength", "character")


def _of_numbers(node: dict[str, Any]) -> Iterable[str]:
    for key, sign in (
        ("minimum", ">="), ("exclusiveMinimum", ">"), ("maximum", "<="), ("exclusiveMaximum", "<"),
        ("multipleOf", "multiple of"),
    ):  # fmt: skip
        if (limit := schema_parts.number(node, key)) is not None:
            yield f"{sign} {limit}"


def _of_arrays(node: dict[str, Any]) -> Iterable[str]:
    yield from _size(node, "minItems", "maxItems", "item")
    if node.get("uniqueItems") is True:
        yield "no two equal"
    first, after = schema_parts.places(node)
    if first and after is False:
        yield "no more items"


def _of_objects(node: dict[str, Any]) -> Iterable[str]:
    yield from _size(node, "minProperties", "maxProperties", "property")


NOTES: dict[str, Callable[[dict[str, Any]], Iterable[str]]] = {
    "string": _of_strings,
    "number": _of_numbers,
    "array": _of_arrays,
    "object": _of_objects,
}


def notes_on(node: dict[str, Any], *kinds: str) -> str:
    return ", ".join(note for kind in kinds for note in NOTES[kind](node))

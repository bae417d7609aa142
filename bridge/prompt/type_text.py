"""A JSON schema as a type in text, as TypeScript would write it. Bounded, whatever a client sends. Pure.

All that `judge` enforces is told, or the text says by `whole` that it is not all: then nothing of it may be enforced.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, NamedTuple

from bridge.schema import parts as schema_parts
from bridge.schema.formats import JUDGED
from bridge.schema.judge import is_of

UNKNOWN = "{...}"
MOST_NODES = 800
MOST_CHARS = 16_000
_DEEPEST = 60  # for the sake of the stack
_MOST_REFERENCES = 20
_MAX_LITERAL = 200
_MAX_INSIDE = 20  # items of a literal, at each of two levels
_LONGEST_NAME = 200
_LONGEST_DEFAULT = 40
COMMENT = 100  # characters of one description, where all together are too long

_PLAIN_NAME = re.compile(r"[A-Za-z_$][\w$.-]{0,80}\Z")
_encode = json.JSONEncoder(ensure_ascii=False).encode
_NO_NAME = re.compile(r"\W+")


class Limits:
    """What may still be written; several texts may share one."""

    def __init__(
        self, nodes: int = MOST_NODES, chars: int = MOST_CHARS, comments: int = 0, comment: int = COMMENT
    ) -> None:
        self.nodes = nodes
        self.chars = chars
        self.comments = comments
        """Characters of all descriptions together."""
        self.comment = comment
        """Characters of one description."""
        self.cut = False
        """Set when a description was longer than its limit."""


class Shown(NamedTuple):
    """A type. `joined`: a union or intersection, to be put in parentheses. `note`: what else holds for it."""

    text: str
    joined: bool = False
    note: str = ""


ANY = Shown("any")


class TypeText:
    """One schema on its way to text. References that lead back to themselves, or all, get names: see `definitions`."""

    def __init__(self, root: Any, limits: Limits, *, naming: frozenset[str] | None = frozenset()) -> None:
        self.whole = True
        """Nothing was left out."""
        self.recursive: set[str] = set()
        """References that cannot be written out and were not named."""
        self._root = root
        self._limits = limits
        self._naming = naming
        self._open: list[str] = []  # references that are being written out
        self._names: dict[str, str] = {}

    # -- types ----------------------------------------------------------------------------------------------------

    def type(self, node: Any, depth: int = 0) -> Shown:
        """Any schema."""
        limits = self._limits
        # Paid before anything else, so that every recursion, also over references, comes to an end.
        limits.nodes -= 1
        if not isinstance(node, dict):
            return Shown("never") if node is False else ANY
        # `whole` turns false with every cut: what the model was not shown must not be enforced against it.
        if depth > _DEEPEST or limits.nodes < 0 or limits.chars < 0:
            self.whole = False
            return Shown(UNKNOWN)
        return _joined(self._conditions(node, depth), " & ")

    def _conditions(self, node: dict[str, Any], depth: int) -> Iterable[Shown]:
        """All that a value must be."""
        # The same order as in `judge`: reference, own keywords, allOf, unions all hold at once.
        if (ref := schema_parts.reference(node)) is not None:
            yield self._reference(ref, depth)
        yield self._own(node, depth)
        yield from (self.type(part, depth + 1) for part in schema_parts.parts(node))
        for union in schema_parts.unions(node):
            yield _joined((self.type(branch, depth + 1) for branch in union), " | ")

    def _own(self, node: dict[str, Any], depth: int) -> Shown:
        types = schema_parts.types(node)
        if (allowed := schema_parts.choices(node)) is not None:
            # Values that the node's own type excludes can never be valid; `judge` refuses them too.
            return self._choices([each for each in allowed if not types or any(is_of(each, one) for one in types)])
        if not types:
            return self._of_keywords(node, depth)
        return _joined((self._of_type(node, each, depth) for each in dict.fromkeys(types)), " | ")

    def _of_keywords(self, node: dict[str, Any], depth: int) -> Shown:
        """Without a type, its other keywords say which is meant."""
        if any(key in node for key in ("properties", "required", "additionalProperties")):
            return self._object(node, depth)
        if "items" in node or "prefixItems" in node:
            return self._array(node, depth)
        return Shown("any", note=_notes(node, *_NOTES))

    def _of_type(self, node: dict[str, Any], kind: str, depth: int) -> Shown:
        if kind == "object":
            return self._object(node, depth)
        if kind == "array":
            return self._array(node, depth)
        if kind == "string":
            return Shown(kind, note=_notes(node, "string"))
        return Shown(kind, note=_notes(node, "number") if kind in ("integer", "number") else "")

    def _array(self, node: dict[str, Any], depth: int) -> Shown:
        note = _notes(node, "array")
        first, after = schema_parts.places(node)
        if first:
            # A tuple type, as in TypeScript, with a rest element where more may follow.
            places = [flat(self.type(item, depth + 1)) for item in first]
            if after is not False and after != {} and after is not True:
                places.append(f"...{_element(self.type(after, depth + 1))}[]")
            return Shown(f"[{', '.join(places)}]", note=note)
        return Shown(f"{_element(self.type(after, depth + 1))}[]", note=note)

    def _object(self, node: dict[str, Any], depth: int) -> Shown:
        body, note = self.members(node, depth), _notes(node, "object")
        if body:
            return Shown("{" + body + "}", note=note)
        return Shown("{}" if schema_parts.rest(node) is False else "object", note=note)

    def members(self, node: dict[str, Any], depth: int) -> str:
        """The members of an object, without braces."""
        # A dict and not a set: it keeps the order, and looking up is as quick. Cut first: the list may be of any
        # length.
        names = dict.fromkeys(name for name in schema_parts.required(node)[: self._limits.nodes] if _is_name(name))
        declared, rest = schema_parts.fields(node), schema_parts.rest(node)
        told: list[str] = []
        # Required members that are not declared are shown too, of any type, because `judge` asks for them.
        for name, field in [*declared.items(), *((name, True) for name in names if name not in declared)]:
            if self._limits.nodes <= 0 or self._limits.chars <= 0:
                self.whole = False
                told.append("...")
                break
            told.append(self._member(name, field, depth, optional=name not in names))
        if isinstance(rest, dict) and rest:
            told.append(f"[key]: {flat(self.type(rest, depth + 1))}")
        # Open objects are the default in JSON Schema; only those that say so are marked, or every line would carry it.
        elif declared and node.get("additionalProperties") in (True, {}):
            told.append("[key]: any")
        return ", ".join(told)

    def _member(self, name: str, field: Any, depth: int, *, optional: bool) -> str:
        # Other names go in quotes: a client's name could otherwise close the type and write into the prompt.
        label = name if _PLAIN_NAME.match(name) else json.dumps(name[:_LONGEST_NAME], ensure_ascii=False)
        self.whole = self.whole and len(name) <= _LONGEST_NAME
        text, _, note = self.type(field, depth + 1)
        text = f"{label}{'?' if optional else ''}: {text}"
        if isinstance(field, dict):
            text += self._default(field)
            note = "; ".join(filter(None, (note, self._described(field))))
        if note:
            text += f" /* {note} */"
        self._limits.chars -= len(label) + 4
        return text

    def _default(self, field: dict[str, Any]) -> str:
        if field.get("default") is None:
            return ""
        text, whole = literal(field["default"])
        return f" = {text}" if whole and len(text) <= _LONGEST_DEFAULT else ""

    def _described(self, field: dict[str, Any]) -> str:
        description, limits = field.get("description"), self._limits
        if not isinstance(description, str):
            return ""
        most = min(limits.comment, limits.comments)
        limits.cut = limits.cut or len(description) > most
        if most <= 0:
            return ""
        # A description must not end the comment it stands in.
        said = shortened(description, most).replace("*/", "* /")
        limits.comments -= len(said)
        return said

    def _choices(self, allowed: list[Any]) -> Shown:
        told: list[str] = []
        limits = self._limits
        for value in allowed:
            text, whole = literal(value)
            told.append(text)
            limits.chars -= len(text)
            # A literal costs half a node: enums are long and cheap.
            limits.nodes -= len(told) % 2
            self.whole = self.whole and whole
            if limits.chars < 0 or limits.nodes < 0:
                self.whole = False
                told.append("...")
                break
        return Shown(" | ".join(dict.fromkeys(told)), joined=len(told) > 1) if told else Shown("never")

    # -- references -----------------------------------------------------------------------------------------------

    def resolved(self, node: Any) -> Any:
        """What a node that is nothing but a reference leads to in the end; `{}` for one that goes round in circles."""
        seen: set[str] = set()
        while isinstance(node, dict) and (ref := schema_parts.reference(node)) is not None:
            # Other keywords beside `$ref` hold too, so such a node is not just its target.
            if not node.keys() <= _ABOUT_A_REFERENCE:
                return node
            if ref in seen or len(seen) > _MOST_REFERENCES:
                return {}
            seen.add(ref)
            node = schema_parts.pointed(self._root, ref)
        return node

    def _reference(self, ref: str, depth: int) -> Shown:
        if self._naming is None or ref in self._naming:
            return Shown(self._name(ref))
        # It leads back into itself: only a name can stand for it.
        if ref in self._open:
            self.recursive.add(ref)
            return Shown(self._name(ref))
        self._open.append(ref)
        shown = self.type(self.resolved({"$ref": ref}), depth + 1)
        self._open.pop()
        return shown

    def _name(self, ref: str) -> str:
        if ref not in self._names:
            # The last segment of the pointer is mostly the author's own name for the type.
            plain = _NO_NAME.sub("", ref.rpartition("/")[2])[:40] or "Whole"
            taken = set(self._names.values())
            self._names[ref] = next(name for n in range(len(taken) + 1) if (name := f"{plain}{n or ''}") not in taken)
        return self._names[ref]

    def definitions(self) -> str:
        """` where Name = type, ...` of all that was named."""
        told: list[str] = []
        # Writing one definition may name further ones, so the dict grows while it is walked by index.
        while len(told) < len(self._names):
            ref, name = next(islice(self._names.items(), len(told), None))
            if self._limits.nodes < 0 or self._limits.chars < 0:
                self.whole = False
                break
            told.append(f"{name} = {flat(self.type(self.resolved({'$ref': ref})))}")
        return f" where {', '.join(told)}" if told else ""


_ABOUT_A_REFERENCE = frozenset(("$ref", "description", "title", "default", "examples", "deprecated", "$comment"))


def _is_name(name: Any) -> bool:
    return isinstance(name, str)


def _element(shown: Shown) -> str:
    """What stands before the brackets of an array."""
    return f"({flat(shown)})" if shown.joined or shown.note else shown.text


def flat(shown: Shown) -> str:
    """The type with its note."""
    return f"{shown.text} /* {shown.note} */" if shown.note else shown.text


def _joined(parts: Iterable[Shown], sign: str) -> Shown:
    """Several types in one. What is anything adds nothing to others that must hold, and takes all from a choice."""
    unique = list(dict.fromkeys(parts))
    if sign == " & ":
        # any & X is X. In a choice it stays: any | X says that X is not required.
        unique = [part for part in unique if part != ANY] or unique[:1]
    if len(unique) == 1:
        return unique[0]
    texts = [f"({flat(part)})" if part.joined and sign == " & " else flat(part) for part in unique]
    return Shown(sign.join(texts), joined=True)


# -- what else holds for a type ---------------------------------------------------------------------------------------


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
    if isinstance(name, str) and name in JUDGED:
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


_NOTES: dict[str, Callable[[dict[str, Any]], Iterable[str]]] = {
    "string": _of_strings,
    "number": _of_numbers,
    "array": _of_arrays,
    "object": _of_objects,
}


def _notes(node: dict[str, Any], *kinds: str) -> str:
    return ", ".join(note for kind in kinds for note in _NOTES[kind](node))


# -- literals and words -----------------------------------------------------------------------------------------------


def literal(value: Any) -> tuple[str, bool]:
    """A value in JSON, or its beginning; and whether it is all of it."""
    # Cut before it is encoded: a default may be a megabyte.
    shown = _beginning(value)
    text = _encode(shown)
    if len(text) > _MAX_LITERAL:
        return text[:_MAX_LITERAL] + "...", False
    return text, shown == value


def _beginning(value: Any, depth: int = 2) -> Any:
    """As much of a value as can be shown, whatever its size."""
    if isinstance(value, str):
        return value[: _MAX_LITERAL + 1]
    if not isinstance(value, (list, dict)):
        return value
    if not depth:
        return "..."
    if isinstance(value, list):
        shown = [_beginning(each, depth - 1) for each in value[:_MAX_INSIDE]]
        return shown if len(value) <= _MAX_INSIDE else [*shown, "..."]
    members = islice(value.items(), _MAX_INSIDE)
    return {name[:_MAX_LITERAL]: _beginning(each, depth - 1) for name, each in members}


def shortened(text: str, limit: int) -> str:
    """The text on one line, at most `limit` characters, cut between words and marked as cut."""
    # Enough raw text for the limit even where much of it is white space; the rest is never looked at.
    line = " ".join(text[: 4 * limit + 200].split())
    if len(line) <= limit:
        return line
    return line[: max(limit - 3, 0)].rsplit(" ", 1)[0].rstrip(",;:") + "..."

"""A JSON schema as a type in text, as TypeScript would write it. Bounded, whatever a client sends. Pure.

The text shows all that `validator` enforces, or `whole` is False: then nothing of it may be enforced.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from itertools import islice
from typing import Any, NamedTuple

from bridge.prompt.literals import literal, shortened
from bridge.prompt.type_notes import NOTES, notes_on
from bridge.schema import parts as schema_parts
from bridge.schema.validator import is_of

UNKNOWN = "{...}"
MOST_NODES = 800
MOST_CHARS = 16_000
_DEEPEST = 60  # for the sake of the stack
_MOST_REFERENCES = 20
_LONGEST_NAME = 200
_LONGEST_DEFAULT = 40
COMMENT = 100  # characters of one description, where all together are too long

_PLAIN_NAME = re.compile(r"[A-Za-z_$][\w$.-]{0,80}\Z")
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


class TypeExpr(NamedTuple):
    """A type. `joined`: a union or intersection, to be put in parentheses. `note`: what else holds for it."""

    text: str
    joined: bool = False
    note: str = ""


ANY = TypeExpr("any")


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

    def type(self, node: Any, depth: int = 0) -> TypeExpr:
        """Any schema."""
        limits = self._limits
        # Paid before anything else, so that every recursion, also over references, comes to an end.
        limits.nodes -= 1
        if not isinstance(node, dict):
            return TypeExpr("never") if node is False else ANY
        # `whole` turns false with every cut: what the model was not shown must not be enforced against it.
        if depth > _DEEPEST or limits.nodes < 0 or limits.chars < 0:
            self.whole = False
            return TypeExpr(UNKNOWN)
        return _joined(self._conditions(node, depth), " & ")

    def _conditions(self, node: dict[str, Any], depth: int) -> Iterable[TypeExpr]:
        """All that a value must be."""
        # The same order as in `validator`: reference, own keywords, allOf, unions all hold at once.
        if (ref := schema_parts.reference(node)) is not None:
            yield self._reference(ref, depth)
        yield self._own(node, depth)
        yield from (self.type(part, depth + 1) for part in schema_parts.parts(node))
        for union in schema_parts.unions(node):
            yield _joined((self.type(branch, depth + 1) for branch in union), " | ")

    def _own(self, node: dict[str, Any], depth: int) -> TypeExpr:
        types = schema_parts.types(node)
        if (allowed := schema_parts.choices(node)) is not None:
            # Values that the node's own type excludes can never be valid; `validator` refuses them too.
            return self._choices([each for each in allowed if not types or any(is_of(each, one) for one in types)])
        if not types:
            return self._of_keywords(node, depth)
        return _joined((self._of_type(node, each, depth) for each in dict.fromkeys(types)), " | ")

    def _of_keywords(self, node: dict[str, Any], depth: int) -> TypeExpr:
        """Without a type, its other keywords say which is meant."""
        if any(key in node for key in ("properties", "required", "additionalProperties")):
            return self._object(node, depth)
        if "items" in node or "prefixItems" in node:
            return self._array(node, depth)
        return TypeExpr("any", note=notes_on(node, *NOTES))

    def _of_type(self, node: dict[str, Any], kind: str, depth: int) -> TypeExpr:
        if kind == "object":
            return self._object(node, depth)
        if kind == "array":
            return self._array(node, depth)
        if kind == "string":
            return TypeExpr(kind, note=notes_on(node, "string"))
        return TypeExpr(kind, note=notes_on(node, "number") if kind in ("integer", "number") else "")

    def _array(self, node: dict[str, Any], depth: int) -> TypeExpr:
        note = notes_on(node, "array")
        first, after = schema_parts.places(node)
        if first:
            # A tuple type, as in TypeScript, with a rest element where more may follow.
            places = [flat(self.type(item, depth + 1)) for item in first]
            if after is not False and after != {} and after is not True:
                places.append(f"...{_element(self.type(after, depth + 1))}[]")
            return TypeExpr(f"[{', '.join(places)}]", note=note)
        return TypeExpr(f"{_element(self.type(after, depth + 1))}[]", note=note)

    def _object(self, node: dict[str, Any], depth: int) -> TypeExpr:
        body, note = self.members(node, depth), notes_on(node, "object")
        if body:
            return TypeExpr("{" + body + "}", note=note)
        return TypeExpr("{}" if schema_parts.rest(node) is False else "object", note=note)

    def members(self, node: dict[str, Any], depth: int) -> str:
        """The members of an object, without braces."""
        # A dict and not a set: it keeps the order, and looking up is as quick. Cut first: the list may be of any
        # length.
        names = dict.fromkeys(name for name in schema_parts.required(node)[: self._limits.nodes] if _is_name(name))
        declared, rest = schema_parts.fields(node), schema_parts.rest(node)
        members: list[str] = []
        # Required members that are not declared are shown too, of any type, because `validator` asks for them.
        for name, field in [*declared.items(), *((name, True) for name in names if name not in declared)]:
            if self._limits.nodes <= 0 or self._limits.chars <= 0:
                self.whole = False
                members.append("...")
                break
            members.append(self._member(name, field, depth, optional=name not in names))
        if isinstance(rest, dict) and rest:
            members.append(f"[key]: {flat(self.type(rest, depth + 1))}")
        # Open objects are the default in JSON Schema; only those that say so are marked, or every line would carry it.
        elif declared and node.get("additionalProperties") in (True, {}):
            members.append("[key]: any")
        return ", ".join(members)

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
        text = shortened(description, most).replace("*/", "* /")
        limits.comments -= len(text)
        return text

    def _choices(self, allowed: list[Any]) -> TypeExpr:
        choices: list[str] = []
        limits = self._limits
        for value in allowed:
            text, whole = literal(value)
            choices.append(text)
            limits.chars -= len(text)
            # A literal costs half a node: enums are long and cheap.
            limits.nodes -= len(choices) % 2
            self.whole = self.whole and whole
            if limits.chars < 0 or limits.nodes < 0:
                self.whole = False
                choices.append("...")
                break
        return TypeExpr(" | ".join(dict.fromkeys(choices)), joined=len(choices) > 1) if choices else TypeExpr("never")

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

    def _reference(self, ref: str, depth: int) -> TypeExpr:
        if self._naming is None or ref in self._naming:
            return TypeExpr(self._name(ref))
        # It leads back into itself: only a name can stand for it.
        if ref in self._open:
            self.recursive.add(ref)
            return TypeExpr(self._name(ref))
        self._open.append(ref)
        expr = self.type(self.resolved({"$ref": ref}), depth + 1)
        self._open.pop()
        return expr

    def _name(self, ref: str) -> str:
        if ref not in self._names:
            # The last segment of the pointer is mostly the author's own name for the type.
            plain = _NO_NAME.sub("", ref.rpartition("/")[2])[:40] or "Whole"
            taken = set(self._names.values())
            self._names[ref] = next(name for n in range(len(taken) + 1) if (name := f"{plain}{n or ''}") not in taken)
        return self._names[ref]

    def definitions(self) -> str:
        """` where Name = type, ...` of all that was named."""
        definitions: list[str] = []
        # Writing one definition may name further ones, so the dict grows while it is walked by index.
        while len(definitions) < len(self._names):
            ref, name = next(islice(self._names.items(), len(definitions), None))
            if self._limits.nodes < 0 or self._limits.chars < 0:
                self.whole = False
                break
            definitions.append(f"{name} = {flat(self.type(self.resolved({'$ref': ref})))}")
        return f" where {', '.join(definitions)}" if definitions else ""


_ABOUT_A_REFERENCE = frozenset(("$ref", "description", "title", "default", "examples", "deprecated", "$comment"))


def _is_name(name: Any) -> bool:
    return isinstance(name, str)


def _element(expr: TypeExpr) -> str:
    """What stands before the brackets of an array."""
    return f"({flat(expr)})" if expr.joined or expr.note else expr.text


def flat(expr: TypeExpr) -> str:
    """The type with its note."""
    return f"{expr.text} /* {expr.note} */" if expr.note else expr.text


def _joined(parts: Iterable[TypeExpr], sign: str) -> TypeExpr:
    """Several types in one. What is anything adds nothing to others that must hold, and takes all from a choice."""
    unique = list(dict.fromkeys(parts))
    if sign == " & ":
        # any & X is X. In a choice it stays: any | X says that X is not required.
        unique = [part for part in unique if part != ANY] or unique[:1]
    if len(unique) == 1:
        return unique[0]
    texts = [f"({flat(part)})" if part.joined and sign == " & " else flat(part) for part in unique]
    return TypeExpr(sign.join(texts), joined=True)

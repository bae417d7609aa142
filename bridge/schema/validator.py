"""Whether a JSON value is what a schema asks for. Bounded in work: schema and value both come from strangers. Pure.

What `type_text` shows to a model is checked: no pattern is run, no document is fetched, other keywords are ignored.
"""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec

from bridge.schema import parts as schema_parts
from bridge.schema.formats import CHECKED, follows

# A step is about one comparison. The bound covers schema and value together, because `$ref` and unions multiply them.
MOST_STEPS = 6000
MOST_VIOLATIONS = 10
_LONGEST_VALUE = 80
_MOST_ALLOWED = 20  # values that a message lists
_SIZES = ((str, "minLength", "maxLength"), (list, "minItems", "maxItems"), (dict, "minProperties", "maxProperties"))

Path = tuple[str | int, ...]


class TooMuch(Exception):
    """The comparison needs more than its steps. The value is then passed on unchecked, not refused."""


class Violation(msgspec.Struct, frozen=True):
    """Where a value is not what its schema asks for, how, and the part of the schema that says so."""

    path: Path
    message: str
    schema: Any
    of_type: bool = False
    """The value is of another type altogether."""

    def __str__(self) -> str:
        """One line: the field, and what is wrong with it."""
        field = "".join(f"[{each}]" if isinstance(each, int) else f".{each[:_LONGEST_VALUE]}" for each in self.path)
        line = f"{field.lstrip('.')}: {self.message}" if field else self.message
        return " ".join(line.split())


def violations(schema: Any, value: Any, steps: int = MOST_STEPS) -> list[Violation]:
    """The first of them, [] for a value that fits. Raise TooMuch when so many steps are not enough."""
    validator = _Validator(schema, steps)
    try:
        validator.visit(schema, value, ())
    # RecursionError: a schema can refer to itself without end. OverflowError: an integer too large for a float meets
    # one.
    except (RecursionError, OverflowError):
        raise TooMuch from None
    return validator.found


class _Validator:
    def __init__(self, root: Any, steps: int) -> None:
        self.found: list[Violation] = []
        self._root = root
        self._left = steps

    def visit(self, node: Any, value: Any, path: Path) -> None:
        """Note what is wrong with the value."""
        self._spend(1)
        # Ten violations are enough for one correction; to look on would cost steps and change nothing.
        if len(self.found) >= MOST_VIOLATIONS:
            return
        if not isinstance(node, dict):
            # A schema may be the literal false. Any other value that is no object, true among them, allows everything.
            if node is False:
                self._note(path, f"{_shown(value)} is not allowed here", node)
            return
        if "$ref" in node and (ref := schema_parts.reference(node)) is not None:
            # Following a reference costs one lookup for each of its segments.
            self._spend(1 + ref.count("/"))
            self.visit(schema_parts.pointed(self._root, ref), value, path)
        # `$ref`, `allOf` and unions hold beside the node's own keywords (JSON Schema 2019-09 and later), so no branch
        # returns early.
        if self._is_of_type(node, value, path):
            self._visit_node(node, value, path)
        if "allOf" in node:
            for part in schema_parts.parts(node):
                self.visit(part, value, path)
        if "anyOf" in node or "oneOf" in node:
            for union in schema_parts.unions(node):
                self._one_of(node, union, value, path)

    def _is_of_type(self, node: dict[str, Any], value: Any, path: Path) -> bool:
        """Its type comes first: what else is wrong with a value of another type is no news."""
        types = schema_parts.types(node)
        if types and not any(is_of(value, each) for each in types):
            names = " or ".join(repr(each) for each in types)
            self._note(path, f"{_shown(value)} is not of type {names}", node, of_type=True)
            return False
        return True

    def _visit_node(self, node: dict[str, Any], value: Any, path: Path) -> None:
        if (allowed := schema_parts.choices(node)) is not None:
            if not self._is_one(value, allowed):
                # A list of allowed values says more than any other keyword, so the rest is not checked.
                self._note(path, f"{_shown(value)} is not one of {_listed(allowed)}", node)
            return
        for kind, least, most in _SIZES:
            if isinstance(value, kind) and (least in node or most in node):
                self._size(node, len(value), (least, most), path)
        match value:
            case dict():
                self._members(node, value, path)
            case list():
                self._elements(node, value, path)
            case str():
                self._format(node, value, path)
            # In Python True is an int; in JSON it is no number.
            case int() | float() if not isinstance(value, bool):
                self._amount(node, value, path)

    def _members(self, node: dict[str, Any], value: dict[str, Any], path: Path) -> None:
        names = schema_parts.required(node)
        # `required` comes from the client and may hold a million names, so it is paid for before it is walked.
        self._spend(len(names) // 4 + len(value))
        for name in names:
            if isinstance(name, str) and name not in value:
                self._note(path, f"{_shown(name)} is a required property", node)
        declared, rest = schema_parts.fields(node), schema_parts.rest(node)
        for name, member in value.items():
            if name in declared:
                self.visit(declared[name], member, (*path, name))
            elif rest is False:
                self._note(path, f"{_shown(name)} is not allowed: there is no such property", node)
            elif rest is not True:
                self.visit(rest, member, (*path, name))

    def _elements(self, node: dict[str, Any], value: list[Any], path: Path) -> None:
        first, after = schema_parts.places(node)
        for index, element in enumerate(value):
            part = first[index] if index < len(first) else after
            # Most arrays allow anything; skipping them keeps long lists cheap.
            if part is not True:
                self.visit(part, element, (*path, index))
            if len(self.found) >= MOST_VIOLATIONS:
                return
        if node.get("uniqueItems") is True and (twice := self._repeated(value)) is not None:
            self._note(path, f"element {twice} is there before, and none may repeat another", node)

    def _repeated(self, value: list[Any]) -> int | None:
        self._spend(len(value))
        seen: set[Any] = set()
        for index, element in enumerate(value):
            key = self._key(element)
            if key in seen:
                return index
            seen.add(key)
        return None

    def _key(self, value: Any) -> Any:
        """Two values have the same if they are equal."""
        if isinstance(value, bool) or value is None:
            # True == 1 and hash(True) == hash(1) in Python, so a set would take [1, true] for a repetition.
            return (value,)
        if isinstance(value, (dict, list)):
            # Objects are equal whatever the order of their keys, hence sort_keys. Hashing the text keeps the search
            # linear; to compare each pair would be quadratic.
            text = json.dumps(_plain(value), sort_keys=True)
            self._spend(len(text) // 8)
            # A tuple of two never equals a plain string with the same text.
            return (text, 0)
        return value

    def _size(self, node: dict[str, Any], size: int, keys: tuple[str, str], path: Path) -> None:
        least, most = (schema_parts.number(node, key) for key in keys)
        if least is not None and size < least:
            self._note(path, f"it has {size} {_unit(keys[0], size)}, at least {least} must be there", node)
        if most is not None and size > most:
            self._note(path, f"it has {size} {_unit(keys[0], size)}, at most {most} may be there", node)

    def _format(self, node: dict[str, Any], value: str, path: Path) -> None:
        name = node.get("format")
        if isinstance(name, str) and name in CHECKED:
            self._spend(1 + len(value) // 64)
            if not follows(name, value):
                self._note(path, f"{_shown(value)} is not of format {name!r}", node)

    def _amount(self, node: dict[str, Any], value: int | float, path: Path) -> None:
        for key, phrase, holds in _LIMITS:
            if key in node and (limit := schema_parts.number(node, key)) is not None and not holds(value, limit):
                self._note(path, f"{_shown(value)} {phrase} {limit}", node)

    def _one_of(self, node: dict[str, Any], branches: list[Any], value: Any, path: Path) -> None:
        """One branch must hold. If only one branch has the type of the value, its own violations are reported; else one
        line for all.
        """
        # The list is swapped while a branch is tried, so that the violations of branches that do not hold can be
        # dropped.
        before, near = self.found, []
        for branch in branches:
            self.found = []
            self.visit(branch, value, path)
            if not self.found:
                self.found = before
                return
            # A branch of another type cannot be the one the model aimed at: for `string | object` and an object only
            # the second counts.
            if not any(each.of_type and each.path == path for each in self.found):
                near.append(self.found)
        self.found = before
        if len(near) == 1:
            self.found += near[0][: MOST_VIOLATIONS - len(before)]
        else:
            key = "anyOf" if node.get("anyOf") is branches else "oneOf"
            self._note(path, f"{_shown(value)} fits none of what is allowed", {key: branches})

    def _is_one(self, value: Any, allowed: list[Any]) -> bool:
        self._spend(len(allowed) // 8)
        if isinstance(value, str):
            self._spend(len(value) // 1024)
            return value in allowed
        return any(self._same(value, each) for each in allowed)

    def _same(self, one: Any, other: Any) -> bool:
        """Equal as JSON: true is not 1, and 1.0 is."""
        self._spend(1)
        if isinstance(one, bool) or isinstance(other, bool):
            return one is other
        if isinstance(one, list) and isinstance(other, list):
            return len(one) == len(other) and all(self._same(a, b) for a, b in zip(one, other, strict=True))
        if isinstance(one, dict) and isinstance(other, dict):
            return one.keys() == other.keys() and all(self._same(each, other[name]) for name, each in one.items())
        return bool(one == other)

    def _note(self, path: Path, message: str, node: Any, *, of_type: bool = False) -> None:
        self._spend(3)
        if len(self.found) < MOST_VIOLATIONS:
            self.found.append(Violation(path, message, node, of_type))

    def _spend(self, steps: int) -> None:
        self._left -= steps
        if self._left < 0:
            raise TooMuch


def is_of(value: Any, kind: str) -> bool:
    """Whether a value is of a type of JSON schema."""
    match kind:
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "null":
            return value is None
        case "object":
            return isinstance(value, dict)
        case "array":
            return isinstance(value, list)
        case "integer":
            whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
            return whole and not isinstance(value, bool)
        case _:
            return isinstance(value, (int, float)) and not isinstance(value, bool)


def _divides(value: float, step: float) -> bool:
    """Floats are divided as people would: 0.3 is a multiple of 0.1."""
    if step <= 0 or not (math.isfinite(value) and math.isfinite(step)):
        # A step that is 0, negative or endless is a fault of the schema: the model is not asked to correct that.
        return True
    if isinstance(value, int) and isinstance(step, int):
        return value % step == 0
    # The remainder of floats is useless here: 0.3 % 0.1 is 0.0999. So the quotient is compared with the nearest
    # integer.
    times = value / step
    return not math.isfinite(times) or abs(times - round(times)) <= 1e-9 * max(1.0, abs(times))


_LIMITS = (
    ("minimum", "is less than", lambda value, limit: value >= limit),
    ("maximum", "is more than", lambda value, limit: value <= limit),
    ("exclusiveMinimum", "is not more than", lambda value, limit: value > limit),
    ("exclusiveMaximum", "is not less than", lambda value, limit: value < limit),
    ("multipleOf", "is not a multiple of", _divides),
)


def _unit(key: str, size: int) -> str:
    word = {"minLength": "character", "minItems": "item", "minProperties": "property"}[key]
    if size == 1:
        return word
    return "properties" if word == "property" else f"{word}s"


def _plain(value: Any) -> Any:
    """With numbers written one way: 1.0 is 1."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return {name: _plain(each) for name, each in value.items()} if isinstance(value, dict) else value


def _listed(allowed: list[Any]) -> str:
    beginning = allowed[:_MOST_ALLOWED]
    if any(isinstance(each, (dict, list)) for each in beginning):
        return "the values that are allowed"
    return ", ".join(map(_shown, beginning)) + (", ..." if len(allowed) > _MOST_ALLOWED else "")


def _shown(value: Any) -> str:
    """A value in a message: its beginning."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an array"
    if isinstance(value, str):
        return repr(value) if len(value) <= _LONGEST_VALUE else f"{value[:_LONGEST_VALUE]!r}..."
    return json.dumps(value)[:_LONGEST_VALUE]

"""Numbers that a schema wants whole, written so: models write `2.0` where it says integer. Pure."""

from __future__ import annotations

import re
from typing import Any

from bridge.chat.request import Tool
from bridge.reply.validation import schema_of
from bridge.schema import parts as schema_parts

_IN_STRING = re.compile(r'(?:[^"\\]|\\.)*+', re.DOTALL)
_WORD = re.compile(r"[-+.0-9A-Za-z]++")
_BETWEEN = re.compile(r'[^-+.0-9A-Za-z"\[\]{},]++')
# Four digits of exponent bound what is written out below.
_NUMBER = re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))?(?:[eE]([-+]?[0-9]{1,4}))?")
_MOST_DIGITS = 40
_MOST_STEPS = 2000
_MOST_TOKENS = 50_000  # of what is given at once; the rest of that stays as it is
_MARK = b'"integer"'

Step = str | int


def may_want_integers(tool: Tool | None) -> bool:
    """Whether anything in the schema is an integer at all."""
    return tool is not None and not tool.custom and has_integers(tool.schema)


def has_integers(schema: bytes) -> bool:
    return _MARK in schema


def whole_number(word: str) -> str:
    """`2.0` and `2e0` as `2`; any other word as it is."""
    found = _NUMBER.fullmatch(word)
    if found is None or (found[3] is None and found[4] is None):
        return word
    sign, digits, fraction, exponent = found[1], found[2], found[3] or "", int(found[4] or 0)
    digits, point = digits + fraction, len(found[2]) + exponent
    # 1e300 written out would be 301 characters; a fraction that is not 0 cannot become an integer.
    if point > _MOST_DIGITS or digits[max(point, 0) :].strip("0"):
        return word
    whole = digits[: max(point, 0)].ljust(point, "0").lstrip("0")
    return f"{sign}{whole}" if whole else "0"


class WholeNumbers:
    """Feed strict JSON in any pieces, and get it with integers as integers.

    Only a number that may go on is held back. The schema is asked only about those with a point or an exponent.
    """

    def __init__(self, schema: bytes) -> None:
        # A schema too large to be read leaves every number as it is.
        parsed = schema_of(schema)
        self._root: Any = parsed.root if parsed is not None else {}
        self._held = ""
        self._path: list[Step] = []
        self._in_string = False
        self._is_key = False
        self._key: list[str] = []
        self._steps = _MOST_STEPS

    def feed(self, text: str) -> str:
        """What is known with the next piece."""
        text, self._held = self._held + text, ""
        out: list[str] = []
        at, tokens = 0, 0
        while at < len(text):
            tokens += 1
            if tokens > _MOST_TOKENS:
                # From here on nothing is asked of the schema, and the path need not be followed any more.
                self._root = {}
                out.append(text[at:])
                break
            end, piece = self._string(text, at) if self._in_string else self._token(text, at)
            if end == at:
                self._held = text[at:]
                break
            out.append(piece)
            at = end
        return "".join(out)

    def end(self) -> str:
        """What is held, when the JSON ends."""
        held, self._held = self._held, ""
        return whole_number(held) if held and not self._path and self._wants_integer() else held

    def _string(self, text: str, at: int) -> tuple[int, str]:
        found = _IN_STRING.match(text, at)
        end = found.end() if found else at
        piece = text[at:end]
        if self._is_key:
            self._key.append(piece)
        if text[end : end + 1] == '"':
            self._in_string = False
            if self._is_key and self._path:
                # The path names where the next value stands: a key in an object, an index in a list.
                self._path[-1] = "".join(self._key)
                self._is_key = False
            return end + 1, f'{piece}"'
        return end, piece

    def _token(self, text: str, at: int) -> tuple[int, str]:
        """One token outside strings; the same position when more must be seen."""
        if found := _WORD.match(text, at):
            word = found.group()
            if found.end() == len(text):
                return at, ""
            # The quick test first: only words that would change are looked up in the schema.
            whole = whole_number(word)
            return found.end(), whole if whole != word and self._wants_integer() else word
        if found := _BETWEEN.match(text, at):
            return found.end(), found.group()
        self._sign(text[at])
        return at + 1, text[at]

    def _sign(self, sign: str) -> None:
        if sign == '"':
            self._in_string = True
            self._key.clear()
        elif sign in "{[":
            self._path.append("" if sign == "{" else 0)
            self._is_key = sign == "{"
        elif sign in "}]":
            self._path = self._path[:-1]
            self._is_key = False
        elif self._path:
            self._next()

    def _next(self) -> None:
        last = self._path[-1]
        if isinstance(last, int):
            self._path[-1] = last + 1
        else:
            self._is_key = True

    def _wants_integer(self) -> bool:
        """All schemas of this place that can take a number take an integer only, and there is one."""
        try:
            nodes = [self._root]
            for step in self._path:
                # All schemas that hold for the place at once: unions and references branch.
                nodes = [inner for node in nodes for inner in self._inner(node, step)]
            verdicts = [verdict for node in nodes if (verdict := self._verdict(node)) is not None]
        # Unknown counts as no: 2.0 stays 2.0, which is at worst what the model wrote.
        except _TooMuch:
            return False
        return bool(verdicts) and all(verdicts)

    def _inner(self, node: Any, step: Step) -> list[Any]:
        self._spend()
        if not isinstance(node, dict):
            return []
        found = [inner for each in self._others(node) for inner in self._inner(each, step)]
        if isinstance(step, str):
            declared, rest = schema_parts.fields(node), schema_parts.rest(node)
            if step in declared:
                found.append(declared[step])
            elif isinstance(rest, dict):
                found.append(rest)
        else:
            first, after = schema_parts.places(node)
            found.append(first[step] if step < len(first) else after)
        return found

    def _verdict(self, node: Any) -> bool | None:
        """True: a number here must be an integer; False: it need not; None: there can be none, or it is left open."""
        self._spend()
        if not isinstance(node, dict):
            return None
        verdicts: list[bool | None] = []
        if types := schema_parts.types(node):
            # `number` wins over `integer` in a list of types: then 2.0 was allowed.
            verdicts.append(False if "number" in types else True if "integer" in types else None)
            # The place cannot hold a number at all, whatever else holds for it.
            if verdicts == [None]:
                return None
        if "$ref" in node and (ref := schema_parts.reference(node)) is not None:
            verdicts.append(self._verdict(schema_parts.pointed(self._root, ref)))
        verdicts += [self._verdict(part) for part in schema_parts.parts(node)]
        for union in schema_parts.unions(node):
            branches = [verdict for branch in union if (verdict := self._branch(branch)) is not None]
            verdicts.append(all(branches) if branches else None)
        # All of these hold at once, so one that wants an integer decides.
        if True in verdicts:
            return True
        return False if False in verdicts else None

    def _branch(self, node: Any) -> bool | None:
        """In a choice, a branch that says nothing takes any number."""
        if node is True or (isinstance(node, dict) and not node.keys() & _CONSTRAINS):
            return False
        return self._verdict(node)

    def _others(self, node: dict[str, Any]) -> list[Any]:
        others = [*schema_parts.parts(node)]
        if "$ref" in node and (ref := schema_parts.reference(node)) is not None:
            others.append(schema_parts.pointed(self._root, ref))
        for union in schema_parts.unions(node):
            others += union
        return others

    def _spend(self) -> None:
        self._steps -= 1
        if self._steps < 0:
            raise _TooMuch


_CONSTRAINS = frozenset(("type", "$ref", "anyOf", "oneOf", "allOf", "enum", "const"))


class _TooMuch(Exception):
    """The schema needs more steps than are allowed."""

"""A parameter written as plain text between tags, as the JSON value that its tool's schema asks for."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from bridge.chat.request import Tool
from bridge.reply.calls.json_value import ParseStopped, Value, read_on
from bridge.schema import parts as schema_parts
from gateway_project.lib.json_errors import UNREADABLE

_DEEPEST = 8
_MOST_NODES = 200
_MOST_TOKENS = 10_000
# By exact type: bool is a subclass of int.
_KINDS: dict[type, str] = {
    type(None): "null",
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
}


class Parameters:
    """The parameters of one tool. What its schema does not say counts as unknown; nothing raises."""

    def __init__(self, tool: Tool) -> None:
        self._root = _decoded(tool.schema)
        self._fields = self._declared_fields()
        self._nodes = 0
        self.tokens = 0
        """Tokens of JSON in the value read last."""

    def _declared_fields(self) -> dict[str, Any]:
        """The parameters' schemas; generators put them where the root refers to, if they have a name for the whole."""
        node: Any = self._root
        for _ in range(_DEEPEST):
            if not isinstance(node, dict):
                break
            if fields := schema_parts.fields(node):
                return fields
            node = schema_parts.pointed(self._root, schema_parts.reference(node) or "")
        return {}

    def value(self, name: str, text: str, *, is_string: bool | None = None, most: int = _MOST_TOKENS) -> str:
        """
        The JSON of the value. Strings stay as they are written; what can only be something else is read as JSON.

        `is_string` is what the model declared; it counts where the schema allows it. Raise TooLong for JSON of more
        than `most` tokens.
        """
        self._nodes = self.tokens = 0
        # Between tags everything is text; only the schema can tell the number 5 from the string "5".
        kinds = self._kinds(self._fields.get(name), 0)
        # DeepSeek's notation marks strings (`string="true"`); a schema that excludes strings wins over it.
        if is_string and (kinds is None or "string" in kinds):
            return json.dumps(text, ensure_ascii=False)
        # Kept to the letter: a string that looks like JSON must not become JSON. The empty set, of a schema that
        # nothing fits, counts as a string too.
        if kinds is not None and kinds <= {"string"}:
            return json.dumps(text, ensure_ascii=False)
        read = self._as_json(text, most, strict=kinds is None)
        # Where a string is allowed, JSON counts only if its own kind is allowed too.
        if read is None or (kinds is not None and "string" in kinds and _kind(read) not in kinds):
            return json.dumps(text, ensure_ascii=False)
        return read

    def _as_json(self, text: str, most: int, *, strict: bool) -> str | None:
        """The text as one JSON value, if it is one; without `strict` in any of the spellings that are tolerated."""
        value, ended = Value([]), f"{text}\n"  # a number ends where something else begins
        try:
            # Without a schema only proper JSON is taken for JSON: a word such as None is more often text.
            if strict:
                msgspec.json.decode(text)
            rest = ended[read_on(value, ended, 0, most) :]
        except (ParseStopped, *UNREADABLE):
            return None
        finally:
            # Set on the way out of an error as well: what was read has cost the same.
            self.tokens = len(value.out)
        return "".join(value.out) if value.done and not rest.strip() else None

    def _kinds(self, node: Any, depth: int) -> set[str] | None:
        """The kinds of JSON values that the schema allows; None when it does not say."""
        # A bound on work and not only on depth: unions of unions grow as a power of their depth.
        self._nodes += 1
        if not isinstance(node, dict) or depth > _DEEPEST or self._nodes > _MOST_NODES:
            return None
        if "$ref" in node and (ref := schema_parts.reference(node)) is not None:
            return self._kinds(schema_parts.pointed(self._root, ref), depth + 1)
        declared = _declared(node)
        if declared is not None:
            return declared
        for key in ("anyOf", "oneOf", "allOf"):
            if isinstance(branches := node.get(key), list):
                found = [self._kinds(branch, depth + 1) for branch in branches[:_MOST_NODES]]
                named = [each for each in found if each is not None]
                # allOf: each part narrows, so parts that say nothing can be left out. A union with one such branch may
                # be anything.
                if named and (key == "allOf" or len(named) == len(found)):
                    return set.intersection(*named) if key == "allOf" else set.union(*named)
        return None


def _declared(node: dict[str, Any]) -> set[str] | None:
    """The kinds that `const`, `enum` or `type` allow; None when none of them says so."""
    values = [node["const"]] if "const" in node else node.get("enum")
    if isinstance(values, list) and values:
        return {_KINDS.get(type(value), "string") for value in values}
    kind = node.get("type")
    kinds = [kind] if isinstance(kind, str) else kind
    if not isinstance(kinds, list) or not kinds:
        return None
    return {each for each in kinds if isinstance(each, str)} | ({"integer"} if "number" in kinds else set())


def _decoded(schema: bytes) -> dict[str, Any]:
    try:
        root = msgspec.json.decode(schema) if schema else {}
    except UNREADABLE:
        return {}
    return root if isinstance(root, dict) else {}


def _kind(strict: str) -> str:
    """The kind of a value by how its JSON begins."""
    first = strict[0]
    if first in '"{[tfn':
        return {'"': "string", "{": "object", "[": "array", "n": "null"}.get(first, "boolean")
    return "number" if any(sign in strict for sign in ".eE") else "integer"

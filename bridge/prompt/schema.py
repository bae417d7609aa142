"""JSON schemas of tools as short text for a prompt: one line per tool, bounded, whatever a client sends. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any

import msgspec

from bridge.chat.request import Tool

MAX_SIGNATURE = 4000  # characters of one tool's parameters
_MAX_DEPTH = 6
_MAX_NODES = 400  # schemas that refer to themselves grow without end otherwise
_MAX_CHOICES = 40
_MAX_LITERAL = 200
_MAX_INSIDE = 20  # items of a literal, at each of two levels
_MAX_REQUIRED = 500  # names that are looked at
_MAX_EXAMPLE = 1000
_COMMENT = 100  # characters of one parameter's description
_COMMENTS = 1600  # of all of a tool together
_LARGEST_REMEMBERED = 1 << 20  # characters of all tools together

_UNKNOWN = "{...}"
_PLAIN_NAME = re.compile(r"[A-Za-z_$][\w$.-]{0,80}\Z")
_SIMPLE = frozenset(("string", "integer", "number", "boolean", "null"))


def is_small(tools: Sequence[Tool]) -> bool:
    """Whether what is made of these tools may be remembered, and they with it: agents send the same ones each time."""
    return sum(len(tool.description) + len(tool.schema) for tool in tools) <= _LARGEST_REMEMBERED


def tool_list(tools: tuple[Tool, ...], description_chars: int) -> str:
    """One line per tool: `- name(parameters): description`."""
    listed = _tool_list if is_small(tools) else _tool_list.__wrapped__
    return listed(tools, description_chars)


@lru_cache(maxsize=64)
def _tool_list(tools: tuple[Tool, ...], description_chars: int) -> str:
    return "\n".join(_line(tool, description_chars) for tool in tools)


def _line(tool: Tool, description_chars: int) -> str:
    said = shortened(tool.description, description_chars)
    if tool.custom:
        return f"- {tool.name}(input: string /* plain text */)" + (f": {said}" if said else "")
    return f"- {tool.name}{signature(tool.schema)}" + (f": {said}" if said else "")


def signature(schema: bytes) -> str:
    """The parameters in parentheses, `()` for none. `({...})` when the schema cannot be read. Never raises."""
    try:
        root = msgspec.json.decode(schema) if schema else {}
        return f"({_parameters(root)})"
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return f"({_UNKNOWN})"


def _parameters(root: Any) -> str:
    if not isinstance(root, dict):
        return _UNKNOWN
    for comments in (_COMMENTS, 0):
        text = _Renderer(root, comments).parameters()
        if len(text) <= MAX_SIGNATURE:
            return text
    return text[:MAX_SIGNATURE] + "..."


def shortened(text: str, limit: int) -> str:
    """The text on one line, at most `limit` characters, cut between words and marked as cut."""
    line = " ".join(text[: 4 * limit + 200].split())
    if len(line) <= limit:
        return line
    return line[: max(limit - 3, 0)].rsplit(" ", 1)[0].rstrip(",;:") + "..."


class _Renderer:
    """One schema on its way to text. `comments` is the budget of characters for descriptions."""

    def __init__(self, root: dict[str, Any], comments: int) -> None:
        self._root = root
        self._comments = comments
        self._nodes = 0

    def parameters(self) -> str:
        """The fields of the root; other forms of root as one type."""
        node = self._resolved(self._root, 0)
        if _fields(node):
            return self._object_body(node, 1)
        if any(key in node for key in ("anyOf", "oneOf", "allOf", "enum", "const")):
            return self._type(node, 0)
        return "" if node.get("type", "object") == "object" and not _open(node) else self._type(node, 0)

    def _type(self, node: Any, depth: int) -> str:
        self._nodes += 1
        if not isinstance(node, dict) or not node:
            return "never" if node is False else "any"
        if depth > _MAX_DEPTH or self._nodes > _MAX_NODES:
            return _UNKNOWN
        if isinstance(node.get("$ref"), str):
            target = self._resolved(node, depth)
            return self._type(target, depth + 1)
        return self._combined(node, depth) or self._typed(node, depth)

    def _combined(self, node: dict[str, Any], depth: int) -> str:
        if "const" in node:
            return _literal(node["const"])
        if isinstance(node.get("enum"), list) and node["enum"]:
            return _choices([_literal(value) for value in node["enum"][:_MAX_CHOICES]], len(node["enum"]))
        for key, sign in (("anyOf", " | "), ("oneOf", " | "), ("allOf", " & ")):
            branches = node.get(key)
            if isinstance(branches, list) and branches and not _fields(node):
                return _joined((self._type(branch, depth + 1) for branch in branches[:_MAX_CHOICES]), sign)
        return ""

    def _typed(self, node: dict[str, Any], depth: int) -> str:
        kind = node.get("type")
        if isinstance(kind, list):
            parts = (self._typed({**node, "type": one}, depth) for one in kind[:8] if isinstance(one, str))
            return _joined(parts, " | ") or "any"
        if isinstance(kind, str) and kind in _SIMPLE:
            return kind
        if kind == "array" or (kind is None and ("items" in node or "prefixItems" in node)):
            return self._array(node, depth)
        if kind == "object" or (kind is None and _fields(node)):
            return self._object(node, depth)
        return "any"

    def _array(self, node: dict[str, Any], depth: int) -> str:
        first = node.get("prefixItems", node.get("items"))
        if isinstance(first, list):
            return "[" + ", ".join(self._type(item, depth + 1) for item in first[:_MAX_CHOICES]) + "]"
        inner = self._type(node.get("items"), depth + 1)
        return f"({inner})[]" if _is_joined(inner) else f"{inner}[]"

    def _object(self, node: dict[str, Any], depth: int) -> str:
        if _fields(node):
            return "{" + self._object_body(node, depth + 1) + "}" if depth < _MAX_DEPTH else _UNKNOWN
        extra = _open(node)
        return "{[key]: " + self._type(extra, depth + 1) + "}" if extra else "object"

    def _object_body(self, node: dict[str, Any], depth: int) -> str:
        names = set(_required(node))
        fields = []
        for name, field in _fields(node).items():
            if self._nodes > _MAX_NODES:
                fields.append("...")
                break
            fields.append(self._field(name, field, depth, optional=name not in names))
        return ", ".join(fields)

    def _field(self, name: str, field: Any, depth: int, *, optional: bool) -> str:
        label = name if _PLAIN_NAME.match(name) else json.dumps(name[:MAX_SIGNATURE], ensure_ascii=False)
        text = f"{label}{'?' if optional else ''}: {self._type(field, depth)}"
        if not isinstance(field, dict):
            return text
        if field.get("default") is not None and len(default := _literal(field["default"])) <= 40:
            text += f" = {default}"
        return text + self._comment(field.get("description"))

    def _comment(self, description: Any) -> str:
        if not isinstance(description, str) or self._comments <= 0:
            return ""
        said = shortened(description, min(_COMMENT, self._comments)).replace("*/", "* /")
        self._comments -= len(said)
        return f" /* {said} */" if said else ""

    def _resolved(self, node: dict[str, Any], depth: int) -> dict[str, Any]:
        """What a local reference points to; `{}` for one that leads nowhere or round in circles."""
        for _ in range(_MAX_DEPTH):
            ref = node.get("$ref")
            if not isinstance(ref, str):
                return node
            node = _pointed(self._root, ref)
        return {}


def _pointed(root: Any, ref: str) -> dict[str, Any]:
    target = root
    if not ref.startswith("#") or ref.count("/") > 20:
        return {}
    for step in ref[1:].split("/")[1:]:
        target = target.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(target, dict) else None
    return target if isinstance(target, dict) else {}


def _fields(node: dict[str, Any]) -> dict[str, Any]:
    fields = node.get("properties")
    return fields if isinstance(fields, dict) else {}


def _open(node: dict[str, Any]) -> dict[str, Any]:
    extra = node.get("additionalProperties")
    return extra if isinstance(extra, dict) else {}


def _required(node: dict[str, Any]) -> list[str]:
    """The first of the names; a list of any length may be referred to hundreds of times."""
    required = node.get("required")
    return [name for name in required[:_MAX_REQUIRED] if isinstance(name, str)] if isinstance(required, list) else []


def _literal(value: Any) -> str:
    text = json.dumps(_beginning(value), ensure_ascii=False)
    return text if len(text) <= _MAX_LITERAL else text[:_MAX_LITERAL] + "..."


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


def _choices(literals: Sequence[str], total: int) -> str:
    return " | ".join(literals) + (" | ..." if total > len(literals) else "")


def _is_joined(text: str) -> bool:
    """A union or intersection, not counting those inside of brackets."""
    depth = 0
    for sign in text:
        if sign in "{[(":
            depth += 1
        elif sign in ")]}":
            depth -= 1
        elif depth == 0 and sign in "|&":
            return True
    return False


def _joined(parts: Iterable[str], sign: str) -> str:
    unique = list(dict.fromkeys(parts))
    return sign.join(f"({part})" if sign == " & " and " | " in part else part for part in unique)


def examples(tools: tuple[Tool, ...], count: int) -> tuple[str, ...]:
    """Bodies of up to `count` example calls of these tools: JSON with `name` and `arguments`."""
    return (_examples if is_small(tools) else _examples.__wrapped__)(tools, count)


@lru_cache(maxsize=64)
def _examples(tools: tuple[Tool, ...], count: int) -> tuple[str, ...]:
    picked = sorted(tools, key=lambda tool: not tool.custom and b'"required"' not in tool.schema)[:count]
    return tuple(_example(tool) for tool in picked)


def _example(tool: Tool) -> str:
    arguments = {"input": "first line\nsecond line"} if tool.custom else _example_arguments(tool.schema)
    text = json.dumps(arguments, ensure_ascii=False, separators=(",", ":"))
    name = json.dumps(tool.name, ensure_ascii=False)
    return f'{{"name":{name},"arguments":{text if len(text) <= _MAX_EXAMPLE else "{...}"}}}'


def _example_arguments(schema: bytes) -> dict[str, Any]:
    try:
        root = msgspec.json.decode(schema) if schema else {}
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return {}
    if not isinstance(root, dict):
        return {}
    fields = _fields(root)
    names = _required(root) or list(islice(fields, 1))
    return {name: _example_value(root, name, fields.get(name), 0) for name in names[:6]}


_SAMPLES = (
    ("path", "src/main.py"),
    ("file", "src/main.py"),
    ("command", "ls -la"),
    ("cmd", "ls -la"),
    ("url", "https://example.com/"),
    ("pattern", "main"),
    ("query", "main"),
)


def _example_value(root: dict[str, Any], name: str, node: Any, depth: int) -> Any:
    if isinstance(node, dict) and isinstance(node.get("$ref"), str):
        node = _pointed(root, node["$ref"])
    if not isinstance(node, dict) or depth > 3:
        return "..."
    if "const" in node:
        return _short(node["const"])
    if isinstance(node.get("enum"), list) and node["enum"]:
        return _short(node["enum"][0])
    for key in ("anyOf", "oneOf", "allOf"):
        if isinstance(node.get(key), list) and node[key]:
            return _example_value(root, name, node[key][0], depth + 1)
    return _example_typed(root, name, node, depth)


def _short(value: Any) -> Any:
    return value if _beginning(value) == value and len(str(value)) <= _MAX_LITERAL else "..."


def _example_typed(root: dict[str, Any], name: str, node: dict[str, Any], depth: int) -> Any:
    kind = node.get("type")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    if kind == "array":
        return [_example_value(root, name, node.get("items"), depth + 1)]
    if kind == "object" or (kind is None and _fields(node)):
        return {one: _example_value(root, one, _fields(node).get(one), depth + 1) for one in _required(node)[:6]}
    if kind == "string" or not isinstance(kind, str):
        return next((sample for part, sample in _SAMPLES if part in name.lower()), "...")
    return {"integer": 1, "number": 1, "boolean": True, "null": None}.get(kind, "...")

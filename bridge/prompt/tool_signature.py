"""JSON schemas of tools as short text for a prompt: one line per tool, bounded, whatever a client sends. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import islice
from typing import Any, NamedTuple

import msgspec

from bridge.chat.request import Tool
from bridge.prompt.literals import literal, shortened
from bridge.prompt.type_text import COMMENT, MOST_CHARS, MOST_NODES, UNKNOWN, Limits, TypeText, flat
from bridge.prompt.weighted_cache import WeightedCache
from bridge.schema import parts as schema_parts

MAX_SIGNATURE = 12_000  # characters of one tool's parameters
_WITH_COMMENTS = 4000  # beyond, descriptions give way
_COMMENTS = 1600  # characters of all descriptions of a tool together
_MOST_NODES = 8000  # of all tools together
_FEW = 8  # tools whose descriptions may be as long as the profile says, all together; fewer may have longer ones
_MAX_REQUIRED = 500  # names that are looked at
_MAX_EXAMPLE = 1000
_MAX_LITERAL = 200
_MOST_PARTS = 20  # of a schema in which the parameters of an example are looked for

_lists: WeightedCache[str] = WeightedCache(8 << 20)
_bodies: WeightedCache[tuple[str, ...]] = WeightedCache(8 << 20)


class Signature(NamedTuple):
    """A tool's parameters as text. `whole`: it shows all that may be enforced."""

    text: str
    whole: bool


def _size(tools: Sequence[Tool]) -> int:
    return sum(len(tool.name) + len(tool.description) + len(tool.schema) for tool in tools)


def tool_list(tools: tuple[Tool, ...], description_chars: int) -> str:
    """One line per tool: `- name(parameters): description`. Agents send the same tools each time."""
    # To hash all tools is far cheaper than to write their signatures anew with each request.
    key = (tools, description_chars)
    if (text := _lists.get(key)) is not None:
        return text
    # Shared by all tools: a client may send a hundred schemas, each just within the bounds of one.
    limits = Limits(_MOST_NODES)
    longest = _longest_description(tools, description_chars)
    text = "\n".join(_line(tool, longest, limits) for tool in tools)
    return _lists.put(key, text, _size(tools) + len(text))


def _longest_description(tools: tuple[Tool, ...], description_chars: int) -> int:
    """How much of a description is shown: of few tools more than of many, which together must not fill the prompt.

    Tools share what `_FEW` of them may have; those with less to say leave the rest to the others.
    """
    left = _FEW * description_chars
    for rank, length in enumerate(sorted(len(tool.description) for tool in tools)):
        # Shortest first: what a short description leaves over is shared among those still to come.
        share = left // (len(tools) - rank)
        if length > share:
            return max(description_chars, share)
        left -= length
    return left + max((len(tool.description) for tool in tools), default=0)


def _line(tool: Tool, description_chars: int, limits: Limits) -> str:
    description = shortened(tool.description, description_chars)
    if tool.custom:
        return f"- {tool.name}(input: string /* plain text */)" + (f": {description}" if description else "")
    return f"- {tool.name}{signature(tool.schema, limits)}" + (f": {description}" if description else "")


def signature(schema: bytes, limits: Limits | None = None) -> str:
    """The parameters in parentheses, `()` for none. `({...})` when the schema cannot be read. Never raises."""
    try:
        root = msgspec.json.decode(schema) if schema else {}
        return signature_of(root, limits or Limits(_MOST_NODES)).text
    # The schema is the client's: a broken one makes a vague line and does not fail the turn.
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return f"({UNKNOWN})"


def signature_of(root: Any, limits: Limits) -> Signature:
    """`signature` for a decoded schema. The nodes it used are taken off the limits."""
    if not isinstance(root, dict):
        return Signature(f"({UNKNOWN})", False)
    if (full := _in_full(root, limits)) is not None:
        return full
    # First with shortened descriptions, then without any: types are worth more to the model than words.
    for comments, limit in ((_COMMENTS, _WITH_COMMENTS), (0, MAX_SIGNATURE)):
        written = _write(root, limits, comments, frozenset())
        # Leaving out descriptions does not help here: the types alone ran into a bound.
        if not written.whole:
            break
        if len(written.text) <= limit:
            return written
    written = _write(root, limits, 0, None)  # what is written once is shorter, where much is referred to
    if len(written.text) <= MAX_SIGNATURE:
        return written
    return Signature(written.text[:MAX_SIGNATURE] + "...", False)


def _in_full(root: dict[str, Any], limits: Limits) -> Signature | None:
    """With every description to its end, if they fit together. Otherwise it was only a try, and takes nothing off."""
    # A copy, so that a try that is dropped does not use up the nodes of the tools behind it.
    trial = Limits(limits.nodes)
    written = _write(root, trial, _COMMENTS, frozenset(), _COMMENTS)
    if trial.cut or not written.whole or len(written.text) > _WITH_COMMENTS:
        return None
    limits.nodes = trial.nodes
    return written


def _write(
    root: dict[str, Any], limits: Limits, comments: int, naming: frozenset[str] | None, comment: int = COMMENT
) -> Signature:
    mine = Limits(min(MOST_NODES, limits.nodes), MOST_CHARS, comments, comment)
    before = mine.nodes
    writer = TypeText(root, mine, naming=naming)
    text = f"({_parameters(root, writer)}){writer.definitions()}"
    limits.nodes -= before - mine.nodes
    limits.cut = mine.cut
    # Which references recur is known only after writing, so it is written again with names for them. If new ones show
    # up then, all get names (None): that ends the recursion after two steps.
    if writer.recursive and naming is not None:
        return _write(root, limits, comments, naming | writer.recursive if not naming else None, comment)
    return Signature(text, writer.whole)


def _parameters(root: dict[str, Any], writer: TypeText) -> str:
    """The fields of the root; other forms of root as one type."""
    node = writer.resolved(root)
    if not isinstance(node, dict) or not node:
        return ""
    others = ("$ref", "anyOf", "oneOf", "allOf", "enum", "const", "minProperties", "maxProperties")
    if any(key in node for key in others) or not set(schema_parts.types(node)) <= {"object"}:
        return flat(writer.type(node))
    return writer.members(node, 0)


def examples(tools: tuple[Tool, ...], count: int) -> tuple[str, ...]:
    """Bodies of up to `count` example calls of these tools: JSON with `name` and `arguments`."""
    key = (tools, count)
    if (bodies := _bodies.get(key)) is not None:
        return bodies
    # Tools with required parameters make better examples: one without shows an empty object. The sort is stable.
    picked = sorted(tools, key=lambda tool: not tool.custom and b'"required"' not in tool.schema)[:count]
    return _bodies.put(key, tuple(_example(tool) for tool in picked), _size(tools))


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
    fields, required = _declared(root)
    names = list(required) or list(islice(fields, 1))
    return {name: _example_value(root, name, fields.get(name), 0) for name in names[:6]}


def _declared(root: dict[str, Any]) -> tuple[dict[str, Any], dict[str, None]]:
    """Fields and required names, also where the root is a reference, put together from parts, or a union."""
    fields: dict[str, Any] = {}
    required: dict[str, None] = {}
    nodes: list[Any] = [root]
    for node in islice(nodes, _MOST_PARTS):  # which grows meanwhile; references may go round in circles
        if not isinstance(node, dict):
            continue
        fields = schema_parts.fields(node) | fields
        required |= dict.fromkeys(_required(node))
        if (ref := schema_parts.reference(node)) is not None:
            nodes.append(schema_parts.pointed(root, ref))
        # Of a union one branch is enough: an example shows one way.
        nodes += [*schema_parts.parts(node)[:_MOST_PARTS], *(union[0] for union in schema_parts.unions(node))]
    return fields, required


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
        node = schema_parts.pointed(root, node["$ref"])
    # Also ends references that lead back to themselves.
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


def _required(node: dict[str, Any]) -> list[str]:
    """The first of the names; a list of any length may be referred to hundreds of times."""
    return [name for name in schema_parts.required(node)[:_MAX_REQUIRED] if isinstance(name, str)]


def _short(value: Any) -> Any:
    return value if literal(value)[1] else "..."


def _example_typed(root: dict[str, Any], name: str, node: dict[str, Any], depth: int) -> Any:
    kind = node.get("type")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    if kind == "array":
        return [_example_value(root, name, node.get("items"), depth + 1)]
    if kind == "object" or (kind is None and schema_parts.fields(node)):
        return {
            one: _example_value(root, one, schema_parts.fields(node).get(one), depth + 1) for one in _required(node)[:6]
        }
    if kind == "string" or not isinstance(kind, str):
        return next((sample for part, sample in _SAMPLES if part in name.lower()), "...")
    return {"integer": 1, "number": 1, "boolean": True, "null": None}.get(kind, "...")

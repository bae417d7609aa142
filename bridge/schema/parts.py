"""How a JSON schema is read: by whoever tells it to a model and by whoever judges a value by it, both the same way."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

TYPES = frozenset(("string", "integer", "number", "boolean", "null", "object", "array"))
_LONGEST_REFERENCE = 500
_MOST_TYPES = 8


def fields(node: dict[str, Any]) -> dict[str, Any]:
    """The declared members."""
    declared = node.get("properties")
    return declared if isinstance(declared, dict) else {}


def required(node: dict[str, Any]) -> list[Any]:
    """Names of the members that must be there, as they stand: a list of any length and of anything."""
    names = node.get("required")
    return names if isinstance(names, list) else []


def rest(node: dict[str, Any]) -> Any:
    """The schema of members that are not declared: False for none, True where nothing is known of them.

    Beside patterns it is True. Which members those declare could only be found by running them.
    """
    extra = node.get("additionalProperties", True)
    return extra if isinstance(extra, (dict, bool)) and not node.get("patternProperties") else True


def types(node: dict[str, Any]) -> tuple[str, ...]:
    """The types that are named; () for any."""
    named = node.get("type")
    listed = named[:_MOST_TYPES] if isinstance(named, list) else [named]
    known = tuple(each for each in listed if isinstance(each, str) and each in TYPES)
    return (*known, "null") if known and node.get("nullable") is True and "null" not in known else known


def unions(node: dict[str, Any]) -> list[list[Any]]:
    """Lists of schemas of which one must hold each. `oneOf` means the same to people: that two hold is no flaw."""
    return [node[key] for key in ("anyOf", "oneOf") if isinstance(node.get(key), list) and node[key]]


def parts(node: dict[str, Any]) -> list[Any]:
    """Schemas that must all hold."""
    together = node.get("allOf")
    return together if isinstance(together, list) else []


def choices(node: dict[str, Any]) -> list[Any] | None:
    """The values that are allowed; None where any is."""
    if "const" in node:
        return [node["const"]]
    listed = node.get("enum")
    return listed if isinstance(listed, list) and listed else None


def places(node: dict[str, Any]) -> tuple[list[Any], Any]:
    """The schemas of the first elements of an array, one by one, and the one of all that follow."""
    first, after = node.get("prefixItems"), node.get("items", True)
    if isinstance(after, list):
        first, after = after, node.get("additionalItems", True)
    return (first if isinstance(first, list) else []), (after if isinstance(after, (dict, bool)) else True)


def number(node: dict[str, Any], key: str) -> int | float | None:
    """The number under a keyword."""
    value = node.get(key)
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def reference(node: dict[str, Any]) -> str | None:
    """Where the schema refers to."""
    ref = node.get("$ref")
    return ref if isinstance(ref, str) else None


def pointed(root: Any, ref: str) -> Any:
    """What a reference within the schema leads to; `{}` for one that leads nowhere or out of it."""
    if not ref.startswith("#") or len(ref) > _LONGEST_REFERENCE:
        return {}
    target = root
    for step in unquote(ref[1:]).split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(target, dict):
            target = target.get(name)
        elif isinstance(target, list) and name.isdecimal() and len(name) < 6 and int(name) < len(target):
            target = target[int(name)]
        else:
            return {}
    return target if isinstance(target, (dict, bool)) else {}

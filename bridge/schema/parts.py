"""How a JSON schema is read, for the prompt that shows it and for the check of a value alike."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

TYPES = frozenset(("string", "integer", "number", "boolean", "null", "object", "array"))
_LONGEST_REFERENCE = 500
_MOST_TYPES = 8


def fields(node: dict[str, Any]) -> dict[str, Any]:
    """`properties`, or {} where it is missing or no object."""
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
    # Every reader here returns something usable for any input: a client's schema is never refused, only read less
    # closely.
    extra = node.get("additionalProperties", True)
    return extra if isinstance(extra, (dict, bool)) and not node.get("patternProperties") else True


def types(node: dict[str, Any]) -> tuple[str, ...]:
    """The types that are named; () for any."""
    named = node.get("type")
    listed = named[:_MOST_TYPES] if isinstance(named, list) else [named]
    named_types = tuple(each for each in listed if isinstance(each, str) and each in TYPES)
    # `nullable` is OpenAPI 3.0; tools generated from such a description still send it.
    if named_types and node.get("nullable") is True and "null" not in named_types:
        return (*named_types, "null")
    return named_types


def unions(node: dict[str, Any]) -> list[list[Any]]:
    """Lists of schemas of which one must hold each. `oneOf` means the same to people: that two hold is no error."""
    return [node[key] for key in ("anyOf", "oneOf") if isinstance(node.get(key), list) and node[key]]


def parts(node: dict[str, Any]) -> list[Any]:
    """`allOf`, or [] where it is missing or no list."""
    together = node.get("allOf")
    return together if isinstance(together, list) else []


def choices(node: dict[str, Any]) -> list[Any] | None:
    """The values that are allowed; None where any is."""
    # `"const": null` is valid and allows only null, so its presence counts and not its value.
    if "const" in node:
        return [node["const"]]
    listed = node.get("enum")
    # An empty `enum` would allow nothing at all. Generators write it by mistake, so it counts as missing.
    return listed if isinstance(listed, list) and listed else None


def places(node: dict[str, Any]) -> tuple[list[Any], Any]:
    """The schemas of the first elements of an array, one by one, and the one of all that follow."""
    first, after = node.get("prefixItems"), node.get("items", True)
    # Drafts 4 to 2019-09 write the first elements as a list in `items` and the rest in `additionalItems`; 2020-12 uses
    # `prefixItems`.
    if isinstance(after, list):
        first, after = after, node.get("additionalItems", True)
    return (first if isinstance(first, list) else []), (after if isinstance(after, (dict, bool)) else True)


def number(node: dict[str, Any], key: str) -> int | float | None:
    """The number under a keyword, or None for anything else; true and false are no numbers."""
    value = node.get(key)
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def reference(node: dict[str, Any]) -> str | None:
    """The text of `$ref`, or None."""
    ref = node.get("$ref")
    return ref if isinstance(ref, str) else None


def pointed(root: Any, ref: str) -> Any:
    """What a reference within the schema leads to; `{}` for one that leads nowhere or out of it."""
    # `#name` is an anchor, which no pointer is: it may stand anywhere, so nothing is known of what it means.
    if not (ref == "#" or ref.startswith("#/")) or len(ref) > _LONGEST_REFERENCE:
        return {}
    target = root
    # A JSON Pointer in a fragment (RFC 6901): percent-encoded, then `~1` is a slash and `~0` a tilde. `~1` goes first,
    # or `~01` would become a slash.
    for step in unquote(ref[1:]).split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(target, dict):
            target = target.get(name)
        # A pointer may lead into a list, such as `#/anyOf/0`. Six digits bound the cost of int().
        elif isinstance(target, list) and name.isdecimal() and len(name) < 6 and int(name) < len(target):
            target = target[int(name)]
        else:
            return {}
    return target if isinstance(target, (dict, bool)) else {}

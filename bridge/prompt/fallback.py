"""A forced function whose call came as plain JSON (lingma-protocol 17.6)."""

from __future__ import annotations

import re
from typing import Any

import msgspec

_FENCED = re.compile(r"\A```[\w -]*\n(.*?)\n?```\Z", re.DOTALL)
_ABOUT_THE_CALL = frozenset({"name", "tool", "function", "arguments", "input", "result"})


def forced_arguments(text: str, name: str) -> str | None:
    """The arguments, as JSON text, when the whole answer is one JSON object that can be a call of this function.

    The object may stand in a code fence. A `name` that is another function's makes it none.
    """
    stripped = text.strip()
    if fenced := _FENCED.match(stripped):
        stripped = fenced[1].strip()
    if not stripped.startswith("{"):
        return None
    try:
        told = msgspec.json.decode(stripped)
    except (msgspec.DecodeError, RecursionError):
        return None
    if not isinstance(told, dict) or _named(told) not in ("", name):
        return None
    return msgspec.json.encode(_arguments(told)).decode()


def _named(told: dict[str, Any]) -> str:
    function = told.get("function")
    inner = function.get("name") if isinstance(function, dict) else function
    return next((each for each in (told.get("name"), told.get("tool"), inner) if isinstance(each, str)), "")


def _arguments(told: dict[str, Any]) -> dict[str, Any]:
    """`input`, `arguments`, `function.arguments`, else every key that does not speak of the call itself."""
    function = told.get("function")
    nested = function.get("arguments") if isinstance(function, dict) else None
    for given in map(_decoded, (told.get("input"), told.get("arguments"), nested)):
        if isinstance(given, dict):
            return given
    return {key: value for key, value in told.items() if key not in _ABOUT_THE_CALL}


def _decoded(given: Any) -> Any:
    """Arguments may themselves be JSON text."""
    if not isinstance(given, str):
        return given
    try:
        return msgspec.json.decode(given)
    except (msgspec.DecodeError, RecursionError):
        return None

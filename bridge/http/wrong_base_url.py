"""Paths that nothing is served at: whose client looks there, and what base URL it should have had."""

from __future__ import annotations

import re
from typing import Final

from bridge.wire import formats
from bridge.wire.format import WireFormat

_V1: Final = "/v1/"
_CHATS: Final = tuple(each.path for each in formats.FORMATS)
_OWNERS: Final[dict[str, WireFormat]] = {
    path: each
    for each in formats.FORMATS
    for path in (*each.other_paths, each.path.removeprefix(_V1), *each.paths_not_served)
} | {"models": formats.DEFAULT}
"""The part that clients put behind their base URL, to the format that has it."""
# The longest first: alternatives are tried in order, and `messages` is the beginning of `messages/batches`.
_ANY_OWNED: Final = "|".join(sorted(_OWNERS, key=len, reverse=True))

_NOT_SERVED: Final = {path for each in formats.FORMATS for path in each.paths_not_served}
_PREFIXES: Final = (
    r"(?:(?:/|openai/|anthropic/|claude/|v\d(?:beta|alpha)?/|api/(?=v1|chat/comp|mess|resp|openai|anthr))*)"
)
BESIDE_V1: Final = rf"^{_PREFIXES}(?:{_ANY_OWNED})(?:/|$)"
"""Where clients end up whose base URL has too much or too little in it."""

UNDER_A_PREFIX: Final = r"^(?:api|openai|anthropic|/+)/?v1(?:/|$)"

_ENDPOINT = re.compile(rf"/({_ANY_OWNED})(?:/|$)")
LONGEST_PATH = 200


def format_of(path: str) -> WireFormat | None:
    """The format whose clients look there; None if any might."""
    return _OWNERS.get(endpoint_of(path))


def endpoint_of(path: str) -> str:
    """The part that a client puts behind its base URL, or ""."""
    found = _ENDPOINT.search(path)
    return found[1] if found else ""


def is_chat(path: str) -> bool:
    """A client has put the path of its chats behind a wrong base URL."""
    owner = format_of(path)
    return owner is not None and path.rstrip("/").endswith(owner.path.removeprefix(_V1))


def advice(method: str, path: str) -> str:
    """The refusal, with the way to the right place."""
    shown = path if len(path) <= LONGEST_PATH else f"{path[:LONGEST_PATH]}…"
    return f"Invalid URL ({method} {shown}). {_hint(path)}"


def _hint(path: str) -> str:
    endpoint = endpoint_of(path)
    # With `/v1/v1` the base URL is wrong too, and that is the mistake to name first.
    if endpoint in _NOT_SERVED and not path.startswith("/v1/v1"):
        *most, last = _CHATS
        return f"{endpoint} is not served here; chats are at {', '.join(most)} and {last}."
    if owner := _OWNERS.get(endpoint):
        return f"{owner.base_url}: the full path is {_V1}{endpoint}."
    rules = dict.fromkeys(each.base_url for each in formats.FORMATS if each.base_url)
    return f"{'. '.join(rules)}."

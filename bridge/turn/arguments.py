"""The arguments of calls, compared as values: clients write JSON anew, and people edit calls before they run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import UNSET

from bridge.chat.request import Tool, ToolCall
from bridge.prompt.weighted_cache import WeightedCache
from sessions_store.fingerprint import DIGEST_LENGTH, digest_of, split_digests

MOST_CALLS = 512
"""The latest of a conversation that are compared."""
_SHORT = 1000  # characters; most calls have fewer
_EXACT = 2**53  # integers below it are the same as floats

# Long arguments in a cache by weight: lru_cache counts entries, and 2048 files would be much memory.
_long_digests: WeightedCache[str] = WeightedCache(8 << 20)


class _Property(msgspec.Struct):
    default: Any = UNSET


class _Schema(msgspec.Struct):
    properties: dict[str, _Property] = {}


def _number(text: str) -> float | int:
    value = float(text)
    # JSON has no difference between 2.0 and 2, and clients rewrite one as the other. Beyond 2**53 a float is not
    # exact, so both stay as they are.
    return int(value) if abs(value) < _EXACT and value.is_integer() else value


_schema = msgspec.json.Decoder(_Schema)
_object = msgspec.json.Decoder(dict[str, Any], float_hook=_number)
_decode = msgspec.json.Decoder(float_hook=_number).decode


def digests(arguments: Iterable[str]) -> str:
    """A digest of what each call was given, the latest at the end. The order of keys, white space and 2.0 for 2 do not
    matter; what is no JSON counts to the letter.
    """
    # A list and no generator: quicker, and this runs with every request of an agent.
    return "".join([_of_short(each) if len(each) <= _SHORT else _of_long(each) for each in arguments])


def latest(given: str) -> str:
    """Those of the latest calls, as they are stored."""
    return given[-MOST_CALLS * DIGEST_LENGTH :]


def edited(calls: Sequence[ToolCall], now: str, given: str, tools: Iterable[Tool] = ()) -> tuple[ToolCall, ...]:
    """The calls whose digest in `now` is not the one in `given`: the digests of the latest calls that a session holds.

    Agents add what a tool's schema has as default: that is no edit.
    """
    if now.endswith(given):  # as nearly always
        return ()
    schemas = {tool.name: tool.schema for tool in tools}
    # From the end: a session keeps the latest calls only, so both lists are aligned there.
    pairs = zip(reversed(calls), reversed(split_digests(now)), reversed(split_digests(given)), strict=False)
    return tuple(
        call
        for call, current, stored in pairs
        if stored not in (current, digests([_without_defaults(call.arguments, schemas.get(call.name, b""))]))
    )[::-1]


def _without_defaults(arguments: str, schema: bytes) -> str:
    try:
        defaults = {name: each.default for name, each in _schema.decode(schema).properties.items()}
        given = {name: value for name, value in _object.decode(arguments).items() if defaults.get(name, UNSET) != value}
        return msgspec.json.encode(given).decode()
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError):
        return arguments


@lru_cache(maxsize=2048)  # agents send each call again with every request
def _of_short(arguments: str) -> str:
    return digest_of(_canonical(arguments))


def _of_long(arguments: str) -> str:
    if (digest := _long_digests.get(arguments)) is not None:
        return digest
    return _long_digests.put(arguments, digest_of(_canonical(arguments)), len(arguments))


def _canonical(arguments: str) -> str:
    try:
        # An empty text is how some clients send a call without arguments.
        value = _decode(arguments or "{}")
        # Sorted keys: clients decode and encode arguments, and the order may change.
        return msgspec.json.encode(value, order="deterministic").decode()
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError):
        return arguments

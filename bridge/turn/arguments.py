"""What calls were given, compared as values: clients write JSON anew, and people edit calls before they run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

import msgspec

from bridge.chat.request import ToolCall
from bridge.prompt.remembered import Remembered
from sessions_store.fingerprint import DIGEST_LENGTH, digest_of, each_digest

MOST_CALLS = 512
"""The latest of a conversation that are compared."""
_SHORT = 1000  # characters; most calls have fewer
_EXACT = 2**53  # integers below it are the same as floats

_known: Remembered[str] = Remembered(8 << 20)


def _number(text: str) -> float | int:
    value = float(text)
    return int(value) if abs(value) < _EXACT and value.is_integer() else value


_decode = msgspec.json.Decoder(float_hook=_number).decode


def digests(arguments: Iterable[str]) -> str:
    """A digest of what each call was given, the latest at the end. The order of keys, white space and 2.0 for 2 do not
    matter; what is no JSON counts to the letter.
    """
    return "".join([_of_short(each) if len(each) <= _SHORT else _of_long(each) for each in arguments])


def latest(given: str) -> str:
    """Those of the latest calls, as they are kept."""
    return given[-MOST_CALLS * DIGEST_LENGTH :]


def edited(calls: Sequence[ToolCall], now: str, given: str) -> tuple[ToolCall, ...]:
    """Those of the calls, whose digests are `now`, that a session knows otherwise: `given` are the latest it knows."""
    if now.endswith(given):  # as nearly always
        return ()
    known, digests_now = each_digest(given), each_digest(now)
    pairs = zip(reversed(calls), reversed(digests_now), reversed(known), strict=False)
    return tuple(call for call, digest, before in pairs if digest != before)[::-1]


@lru_cache(maxsize=2048)  # agents send each call again with every request
def _of_short(arguments: str) -> str:
    return digest_of(_canonical(arguments))


def _of_long(arguments: str) -> str:
    if (known := _known.get(arguments)) is not None:
        return known
    return _known.keep(arguments, digest_of(_canonical(arguments)), len(arguments))


def _canonical(arguments: str) -> str:
    try:
        value = _decode(arguments or "{}")
        return msgspec.json.encode(value, order="deterministic").decode()
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError):
        return arguments

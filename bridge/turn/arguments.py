"""What calls were given, compared as values: clients write JSON anew, and people edit calls before they run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from bridge.chat.request import ToolCall
from bridge.prompt.remembered import Remembered
from sessions_store.fingerprint import digest_of, each_digest

MOST_CALLS = 512
"""The latest of a conversation that are compared."""
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
    return "".join([_digest(each) for each in arguments])


def edited(calls: Sequence[ToolCall], given: str) -> tuple[ToolCall, ...]:
    """Those of the calls that were given something else than a session knows by these digests of the latest ones."""
    known = each_digest(given)
    latest = calls[-len(known) :] if known else ()
    return tuple(
        call for call, digest in zip(latest, known[-len(latest) :], strict=True) if _digest(call.arguments) != digest
    )


def _digest(arguments: str) -> str:
    """Agents send each call again with every request."""
    if (known := _known.get(arguments)) is not None:
        return known
    return _known.keep(arguments, digest_of(_canonical(arguments)), len(arguments) + 200)


def _canonical(arguments: str) -> str:
    try:
        value = _decode(arguments or "{}")
        return msgspec.json.encode(value, order="deterministic").decode()
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError):
        return arguments

"""What a usage row keeps of the way to its end: a kilobyte of JSON, without anything of prompts and answers."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from gateway_project.lib.secrets.redaction import redacted

# As wide as the column (LONGEST_TRACE).
MOST_BYTES: Final = 1024
MOST_OTHERS: Final = 16
MOST_LIMITS: Final = 6
LONGEST_ERROR: Final = 300
LONGEST_NAME: Final = 128
_READ: Final = 4 * LONGEST_ERROR

NamedBy = Literal["", "model", "alias", "alias_default", "agent", "default"]
SessionWhy = Literal[
    "", "turned_off", "agent_mode", "with_tools", "first", "unknown", "continued", "elsewhere", "lost"
]  # fmt: skip


class Trace(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One turn, or the first of refusals that share a row. Times in ms since the request came; None: not that far."""

    admitted: int | None = None
    placed: int | None = None
    asked: int | None = None
    named_by: NamedBy = ""
    """Who decided on the Lingma model: the account's list, an alias, a name of agent mode, or nobody.

    `alias_default`: the alias means a model that the account does not offer.
    """
    alias: str = ""
    """Its pattern."""
    wanted: str = ""
    """What the alias means."""
    session: SessionWhy = ""
    """Why the session was new, reused, rebuilt or off."""
    holder: str = ""
    """The instance that held the session."""
    by: str = ""
    """The web process that the request came to, and that handed it over to the one that held the session, or that had a
    free place.
    """
    sent: int | None = None
    """Characters of the question, with what the gateway adds."""
    whole: int | None = None
    """Characters of the conversation."""
    others: dict[str, str] = {}
    """Instances that did not take it, and why: a code, with a figure behind a space where there is one.

    A state of `InstanceState`, `full 8/8`, `lost` (had lost this turn), `session`, `busier 3`, `turn` (as busy, and had
    its turn before), `kept` (for a turn that must run alone, or for others that waited).
    """
    more: int = 0
    """So many other instances are not in the list."""
    lost: list[tuple[str, str]] = []
    """Attempts that came to nothing: the instance, and the kind of error."""
    lost_at: list[int] = []
    """When each of them did. Beside the list: a version that does not know it reads the rest."""
    corrections: int = 0
    limits: list[tuple[str, str, int, int]] = []
    """The limits when it came, the nearest to be exhausted first: whose, its name, what it stood at, its size."""
    param: str = ""
    """The field of the request that was refused."""
    error: str = ""
    """The error's text: the gateway's own, or what the service said."""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Trace).decode


def shown(text: str) -> str:
    """A text as a trace may hold it: short, and without secrets."""
    # Secrets go first: half of one, which a cut leaves, would not be recognised any more. Cut before, too, as the text
    # of a service may be megabytes.
    text = redacted(text[:_READ])
    return text if len(text) <= LONGEST_ERROR else f"{text[: LONGEST_ERROR - 1]}…"


def encoded(trace: Trace) -> str:
    """The JSON, in MOST_BYTES: where that is not enough, others go first, and then the error's text."""
    line = _encode(trace)
    # Encoded anew for each that goes: few traces are too long, so this need not be quick.
    while len(line) > MOST_BYTES and trace.others:
        trace.others.popitem()
        trace.more += 1
        line = _encode(trace)
    while len(line) > MOST_BYTES and (trace.lost or trace.error):
        trace.lost = trace.lost[:-1]
        trace.lost_at = trace.lost_at[: len(trace.lost)]
        trace.error = trace.error[: len(trace.error) // 2]
        line = _encode(trace)
    return line.decode() if len(line) <= MOST_BYTES else ""


def decoded(text: str) -> Trace | None:
    """The trace of a row; None for a row without one, and for one of a version that wrote something else."""
    try:
        return _decode(text) if text else None
    except msgspec.DecodeError:
        return None

"""What the model is to do: a list of steps, one for each of its turns."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Flaw = Literal[
    "", "fence", "quotes", "comma", "string", "alias", "unknown", "missing", "type", "nonce", "cut", "no_call", "prose"
]


class Call(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tool call; `call` is the tool's name."""

    call: str
    arguments: Any = {}


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One turn of the model. The flaw is in its first `times` attempts."""

    say: str = ""
    think: str = ""
    call: str = ""
    arguments: Any = {}
    calls: list[Call] = []
    flaw: Flaw = ""
    times: int = 1

    @property
    def all_calls(self) -> list[Call]:
        """All calls of the step: `call` with `arguments` first, then `calls`."""
        return [*([Call(self.call, self.arguments)] if self.call else []), *self.calls]


def read(text: str) -> list[Step]:
    """The steps of a plan, a JSON list. Raise ValueError for anything else."""
    return msgspec.json.decode(text, type=list[Step])

"""Which tools of Lingma's own agent may run: the setting `TOOL_APPROVAL`, and what a key has in its place."""

from __future__ import annotations

import re
from typing import Final, Literal

import msgspec

UNNAMED: Final = "tool"
"""Stands for a name that the service did not send."""

_NAME = re.compile(r"[^\s,*]+")


class Approval(msgspec.Struct, frozen=True):
    """Which tools of the service's own agent may run. By default none."""

    everything: bool = False
    names: frozenset[str] = frozenset()

    @classmethod
    def read(cls, text: str) -> Approval:
        """`deny`, `allow`, or `allow:<name>,<name>`. Raise ValueError for anything else."""
        word, colon, listed = text.strip().partition(":")
        if (word, colon) in {("deny", ""), ("allow", "")}:
            return cls(everything=word == "allow")
        # A typing error must not open more than was meant: what is not understood is refused at start.
        names = frozenset(stripped for part in listed.split(",") if (stripped := part.strip()))
        if word != "allow" or not names or not all(map(_NAME.fullmatch, names)):
            raise ValueError("must be deny, allow, or allow:<name>,<name>")
        return cls(names=names)

    def allows(self, name: str) -> bool:
        """Names are compared exactly; a tool without a name is allowed only where everything is."""
        return self.everything or (name in self.names and name != UNNAMED)


DENY: Final = Approval()


class ToolPolicy(msgspec.Struct, frozen=True):
    """What a key has of its own in the place of the settings `TOOL_MODE` and `TOOL_APPROVAL`; "" and None: nothing."""

    tool_mode: Literal["", "emulate", "bridge", "forward"] = ""
    approval: Approval | None = None

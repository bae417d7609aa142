"""A call that stands in a text in some notation, and what a stranger would have written to have it made."""

from __future__ import annotations

import json
from collections.abc import Iterator

import msgspec

from bridge.chat.request import Tool

DSML = "｜DSML｜"
VALUE_ENDS = ("</parameter>", f"</{DSML.casefold()}parameter>", "</arg_value>")
"""Tags that end a value, as a text without capitals has them."""


class GuessedCall(msgspec.Struct, frozen=True):
    """A complete call. `quotes` are texts that a stranger would have written to have it made."""

    tool: Tool
    arguments: str
    """JSON, or the plain text of a custom tool."""
    quotes: tuple[str, ...]

    @property
    def in_tags(self) -> Iterator[str]:
        """The arguments as notations with a tag for each parameter have them: a stranger may have used another one."""
        members = _written_members({"input": self.arguments} if self.tool.custom else self.arguments)
        if not members:
            return
        yield "".join(f"<arg_key>{name}</arg_key><arg_value>{value}</arg_value>" for name, value, _ in members)
        yield "".join(f"<parameter={name}>{value}</parameter>" for name, value, _ in members)
        for tag in ("parameter", f"{DSML}parameter"):
            yield "".join(f'<{tag} name="{name}">{value}</{tag}>' for name, value, _ in members)
            yield "".join(f'<{tag} name="{name}" string="{kind}">{value}</{tag}>' for name, value, kind in members)


def _written_members(arguments: str | dict[str, str]) -> list[tuple[str, str, str]]:
    """Names, values as they are written between tags, and whether they are strings: "true" or "false"."""
    try:
        decoded = json.loads(arguments) if isinstance(arguments, str) else arguments
        return [
            (name, value, "true") if isinstance(value, str) else (name, json.dumps(value, ensure_ascii=False), "false")
            for name, value in decoded.items()
        ]
    except RecursionError:
        return []

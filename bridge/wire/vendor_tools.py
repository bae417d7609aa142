"""Tools that a vendor has taught its own models, and the client runs: no schema describes them to other models."""

from __future__ import annotations

import re
from typing import NamedTuple

from bridge.chat.request import Tool

_CLIENT_RUN = re.compile(
    r"(?:bash|text_editor|memory|computer|(?:computer|browser)_toolset)(?:_\d{8})?\Z"
    r"|(?:local_)?shell\Z|apply_patch\Z|computer[-_]use(?:[-_]preview)?\Z"
)


class ReadTools(NamedTuple):
    """The tools of a request that a prompt can show, and the types of those that the client waits for in vain."""

    tools: tuple[Tool, ...] = ()
    left_out: tuple[str, ...] = ()


def is_client_run(kind: str | None) -> bool:
    """The client would run a tool of this type, so that it should know that no call will come."""
    return kind is not None and _CLIENT_RUN.match(kind) is not None

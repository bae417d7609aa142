"""What is to be read out of a reply."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from bridge.chat.request import Tool
from bridge.reply.call_assembly import ToolOffer

CallDisplay = Literal["text", "omit", "calls"]


class ReadOptions(msgspec.Struct, frozen=True):
    thinking: bool = False
    offer: ToolOffer | None = None
    """Tools that the prompt shows to the model."""
    calls_forbidden: bool = False
    """An earlier prompt of the session showed tools; now none may be called."""
    lingma_calls: CallDisplay | None = None
    """How calls of Lingma's own agent are shown; None: not at all."""
    tools: Sequence[Tool] = ()
    """The client's tools, offered or not: Lingma's agent may call them as well."""
    forced: Tool | None = None
    """The one of them that Lingma's agent must call."""
    parallel: bool = True
    """Whether Lingma's agent may call several of them at once."""
    schema: bytes = b""
    """JSON schema of the reply; empty: it need not be JSON."""
    stream: bool = True
    """Whether the client sees the reply as it comes; otherwise all of it can be taken back to its end."""

    @property
    def is_text_only(self) -> bool:
        """Neither calls nor JSON are looked for."""
        return not (self.offer or self.forced or self.calls_forbidden or self.lingma_calls or self.schema)

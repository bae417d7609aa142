"""The public formats that are served, and which one an error or a shared path takes. A new format is a line here."""

from __future__ import annotations

from collections.abc import Mapping

from bridge.wire.anthropic.format import FORMAT as ANTHROPIC
from bridge.wire.format import WireFormat
from bridge.wire.openai.format import FORMAT as OPENAI_CHAT
from bridge.wire.responses.format import FORMAT as RESPONSES

FORMATS: tuple[WireFormat, ...] = (OPENAI_CHAT, RESPONSES, ANTHROPIC)
DEFAULT: WireFormat = OPENAI_CHAT
"""The format of clients that do not show which one they speak."""


def by_header(headers: Mapping[bytes, bytes]) -> WireFormat | None:
    """The format whose clients send one of these headers; never told by the kind of key."""
    for each in FORMATS:
        if each.client_header and each.client_header in headers:
            return each
    return None

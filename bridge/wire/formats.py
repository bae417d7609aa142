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
    """The format whose clients send their own header; the kind of key shows nothing."""
    for each in FORMATS:
        if each.client_headers and each.client_headers[0] in headers:
            return each
    return None

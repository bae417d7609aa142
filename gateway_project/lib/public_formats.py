"""The public formats, as everybody must know them who may not import `bridge.wire`; a test compares the two."""

from __future__ import annotations

from typing import Final, NamedTuple


class PublicFormat(NamedTuple):
    """One that chats are served in."""

    name: str
    """In the playground, whose script has a request for each."""
    title: str
    path: str
    """Where its chats are posted."""
    protocol: str
    """Its label in usage rows, metrics and logs. Formats of one vendor may share it."""
    vendor: str
    """The protocol, for people."""


PUBLIC_FORMATS: Final = (
    PublicFormat("chat", "OpenAI Chat Completions", "/v1/chat/completions", "openai", "OpenAI"),
    PublicFormat("responses", "OpenAI Responses", "/v1/responses", "openai", "OpenAI"),
    PublicFormat("messages", "Anthropic Messages", "/v1/messages", "anthropic", "Anthropic"),
)
PROTOCOLS: Final = tuple(dict.fromkeys((each.protocol, each.vendor) for each in PUBLIC_FORMATS))
"""Their labels in rows, and what these are called."""

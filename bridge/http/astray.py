"""Paths that nothing is served at: which protocol their client speaks, and what base URL it should have had."""

from __future__ import annotations

import re
from typing import Final

SERVED: Final = ("chat/completions", "responses", "messages/count_tokens", "messages", "models")
NOT_SERVED: Final = ("completions", "embeddings", "moderations", "images", "audio", "files", "batches", "assistants")
OF_ANTHROPIC: Final = frozenset({"messages", "messages/count_tokens", "complete"})
PREFIXES: Final = (
    r"(?:(?:/|openai/|anthropic/|claude/|v\d(?:beta|alpha)?/|api/(?=v1|chat/comp|mess|resp|openai|anthr))*)"
)
BESIDE_V1: Final = rf"^{PREFIXES}(?:{'|'.join((*SERVED, *NOT_SERVED, 'complete'))})(?:/|$)"
"""Where clients end up whose base URL has too much or too little in it."""

UNDER_A_PREFIX: Final = r"^(?:api|openai|anthropic|/+)/?v1(?:/|$)"

_ENDPOINT = re.compile(rf"/({'|'.join((*SERVED, *NOT_SERVED, 'complete'))})(?:/|$)")
MOST_ECHOED = 200
OPENAI_BASE = "The base URL for OpenAI clients ends in /v1"
ANTHROPIC_BASE = "The base URL for Anthropic clients is the gateway's address without /v1"


def is_anthropic(path: str) -> bool:
    """Whether only a client of Anthropic's asks for this."""
    return endpoint_of(path) in OF_ANTHROPIC


def endpoint_of(path: str) -> str:
    """The part that a client puts behind its base URL, or ""."""
    found = _ENDPOINT.search(path)
    return found[1] if found else ""


def words(method: str, path: str) -> str:
    """The refusal, with the way to the right place."""
    shown = path if len(path) <= MOST_ECHOED else f"{path[:MOST_ECHOED]}…"
    return f"Invalid URL ({method} {shown}). {_hint(path)}"


def _hint(path: str) -> str:
    endpoint = endpoint_of(path)
    if endpoint in NOT_SERVED and not path.startswith("/v1/v1"):
        return f"{endpoint} is not served here; chats are at /v1/chat/completions, /v1/responses and /v1/messages."
    if endpoint in OF_ANTHROPIC:
        return f"{ANTHROPIC_BASE}: the full path is /v1/{'messages' if endpoint == 'complete' else endpoint}."
    if endpoint:
        return f"{OPENAI_BASE}: the full path is /v1/{endpoint}."
    return f"{OPENAI_BASE}. {ANTHROPIC_BASE}."

"""The headers by which agents name their conversations."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from bridge.chat.request import ChatRequest, ClientIds
from bridge.http.client_apps import Agent, client_app_of
from bridge.wire.client_ids import is_random

# Others may send the same names with something else in it, a constant even: then it proves nothing.
HEADERS = {
    b"x-claude-code-session-id": Agent.CLAUDE_CODE,
    b"session-id": Agent.CODEX,
    b"session_id": Agent.CODEX,
    b"thread-id": Agent.CODEX,
    b"conversation_id": Agent.CODEX,
    b"x-session-id": Agent.OPENCODE,
    b"x-session-affinity": Agent.OPENCODE,
}


def identified(request: ChatRequest, headers: Mapping[bytes, bytes]) -> ChatRequest:
    """The request with the ids that its headers add, and what is a proof when this agent sends it."""
    ids = request.ids
    # The common case of plain SDKs: no copy of the request is made.
    if not ids.proven_by and HEADERS.keys().isdisjoint(headers):
        return request
    # An id proves a conversation only if it comes from the agent that is known to draw such ids.
    client_app = client_app_of(headers.get(b"user-agent", b""))
    values, proven = list(ids.values), ids.proven or ids.proven_by == client_app
    for name, agent in HEADERS.items():
        if value := headers.get(name, b"").decode("latin-1"):
            values.append(f"{name.decode()} {value}")
            proven = proven or (agent.value == client_app and is_random(value))
    return msgspec.structs.replace(request, ids=ClientIds(tuple(values), proven=proven))

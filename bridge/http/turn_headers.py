"""What an answer's headers say of its turn."""

from __future__ import annotations

from bridge.http.base import Headers
from bridge.turn.record import TurnRecord


def headers_of(record: TurnRecord) -> Headers:
    """The `x-lingma-…` headers of the turn; none of one that was refused, or still waits in the queue."""
    if not record.instance:
        return []
    headers = [
        (b"x-lingma-instance", record.instance.encode()),
        (b"x-lingma-model", record.lingma_model.encode()),
        (b"x-lingma-session", record.session.encode()),
        (b"x-lingma-queue-ms", b"%d" % record.queue_ms),
    ]
    if record.first_token_ms is not None:
        headers.append((b"x-lingma-first-token-ms", b"%d" % record.first_token_ms))
    if record.warnings:
        headers += [(b"x-lingma-warning", warning.encode()) for warning in record.warnings]
    return headers

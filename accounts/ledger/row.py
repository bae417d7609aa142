"""The one list of the columns of an ended turn: the ledger, the log and the metrics take it from here.

The model `Usage` has the same columns, and the admin shows them; a test compares them.
"""

from __future__ import annotations

from typing import Final

import msgspec


class UsageRow(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One turn, or refusals of one kind. In the order of a log line.

    Milliseconds are whole: `total_ms` counts from the request on, the others from when it was read and admitted.
    `started_at` is unix seconds.
    """

    # A new column has its place here and in the model; log, metrics, admin and export take it from these.
    request_id: str
    api_key_id: int | None
    """0 for nobody's; None, too, in a row that is being filed."""
    team_id: int | None = None
    """The key's team when it was used; a key may move."""
    protocol: str
    endpoint: str
    model: str
    """As the client named it; "" of refusals that named several."""
    lingma_model: str = ""
    instance: str = ""
    session: str = ""
    stream: bool = False
    status: str
    reason: str = ""
    queue_ms: int = 0
    first_token_ms: int | None = None
    """None when no text came."""
    total_ms: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usage_source: str = ""
    agent: str = ""
    """A value of `Usage.Agent`."""
    tools: str = ""
    """Outcomes of tool calls, and decisions on Lingma's own tools, in a few words."""
    trace_id: str = ""
    """OpenTelemetry's, where spans are sent."""
    started_at: float
    client: str = ""
    """The address it came from."""
    count: int = 1
    """Refusals of one kind share a row: `request_id` is that of the first, and the highest count is the right one."""
    limit_scope: str = ""
    """Whose limit was reached: a value of `Usage.Scope`."""
    allowed: int | None = None
    """The size of the limit, and what it stood at (`value`)."""
    value: int | None = None
    retry_after: int | None = None
    trace: str = ""
    """How it came to that, as the JSON of a `Trace`; "" for most turns that went well."""
    admitted: bool = False
    """A turn that got a place or waited for one: the ledger was told of it before, by an `Opening`."""


class Opening(msgspec.Struct):
    """Says that a turn begins. Ahead of its row, on the same way."""

    opened_by: str
    """The run of the web process that serves it: its name, and which start of it."""
    row: UsageRow
    """What is known now; its status is `open`."""


class Amendment(msgspec.Struct):
    """Tokens that the service has counted of a turn, known after its row was written. They go the same way as rows."""

    amends: str
    """The request id of the row."""
    started_at: float
    prompt_tokens: int
    completion_tokens: int


AMENDMENT: Final = b'{"amends":'
"""What the line of an amendment begins with."""
OPENING: Final = b'{"opened_by":'
"""What the line of an opening begins with, and no line of a row."""
OPENED: Final = b'{"opened":true,'
"""What the line of a row begins with that is the opening of its turn, too: it ended before that was sent."""

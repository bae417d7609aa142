"""`GET /v1/usage`: what a key may know of itself."""

from __future__ import annotations

import msgspec
from django.db import Error

from accounts.limits.key_report import TooManyReports
from bridge.chat.errors import Unavailable
from bridge.http.api import ApiConsumer, key_closed
from bridge.http.base import JSON


class OwnUsage(ApiConsumer):
    """The key's state, its limits, sums by day, and its last requests. It counts for no limit."""

    endpoint = "/v1/usage"

    async def handle(self) -> None:
        caller = await self.authenticate()
        try:
            report = await self.runtime.key_reports.of(caller)
        except Error:
            raise Unavailable("Usage cannot be read right now; try again.", retry_after=2) from None
        except TooManyReports:
            raise Unavailable("Usage is being read for many keys right now; try again.", retry_after=1) from None
        if report is None:  # it was deleted a moment ago
            raise key_closed("unknown")
        if caller.limits:
            self.limits_seen = await self.runtime.limits.look_closely(caller)
        states = self.limits_seen.states() if self.limits_seen else []
        fields = msgspec.structs.asdict(report)
        tail = {name: fields.pop(name) for name in ("days", "requests")}
        body = {"object": "usage", **fields, "limits": [state.shown() for state in states], **tail}
        no_store = (b"cache-control", b"no-store")
        await self.reply(200, msgspec.json.encode(body), [JSON, no_store, *self.common_headers()])

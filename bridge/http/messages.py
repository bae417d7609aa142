"""What Anthropic Messages has beside its chats."""

from __future__ import annotations

from bridge.http.api import ApiConsumer
from bridge.http.base import JSON
from bridge.wire.anthropic.format import FORMAT


class CountTokens(ApiConsumer):
    """`POST /v1/messages/count_tokens`: cheap, and outside the queue of the chats."""

    methods = ("POST",)
    endpoint = "/v1/messages/count_tokens"

    async def handle(self) -> None:
        """Answer with an estimate; no service is asked."""
        caller = await self.authenticate()
        request = FORMAT.parse_to_count(await self.request_body())
        await self.admit_count(caller, request.model)
        tokens = self.runtime.engine.count_tokens(request, caller.key_id)
        await self.reply(200, FORMAT.token_count(tokens), [JSON, *self.common_headers()])

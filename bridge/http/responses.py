"""The Responses endpoints: a chat with a memory, and what can be asked of that memory."""

from __future__ import annotations

from urllib.parse import parse_qsl

from accounts.keys.keyring import Caller
from bridge.chat.errors import InvalidRequest, NotFound, Unavailable
from bridge.http.api import ApiConsumer
from bridge.http.base import JSON
from bridge.http.chat import ChatConsumer
from bridge.wire.format import ParsedRequest
from bridge.wire.responses import stored
from bridge.wire.responses.compact import CompactionReply, compaction_of
from bridge.wire.responses.encoder import ResponsesReply
from bridge.wire.responses.format import FORMAT
from bridge.wire.responses.output_items import is_response_id, response_id
from bridge.wire.responses.replay import number_of, replay
from bridge.wire.responses.request import Draft
from bridge.wire.responses.stored import StoredRecord
from sessions_store.responses import MOST_READ, StoredTooLarge, StoreUnavailable

RETRY_SEC = 5


class _StoredResponses(ApiConsumer):
    """Requests that may refer to stored responses."""

    async def complete(self, caller: Caller, draft: Draft) -> ParsedRequest[ResponsesReply]:
        """The request with what it refers to."""
        return draft.complete(await self.fetch(caller, draft.needs) if draft.needs else {})

    async def fetch(self, caller: Caller, ids: tuple[str, ...]) -> dict[str, StoredRecord]:
        """The key's stored responses of these ids, those that there are. Raise InvalidRequest or Unavailable."""
        wanted = [id_ for id_ in ids if is_response_id(id_)]
        if not wanted:
            return {}
        try:
            records = await self.runtime.responses.read(caller.key_id, wanted)
        except StoreUnavailable:
            raise _cannot_read() from None
        except StoredTooLarge:
            words = f"The stored responses that this request refers to exceed {MOST_READ >> 20} MiB together."
            raise InvalidRequest(words, param=("input",), code="invalid_value") from None
        await self.hold(caller, sum(map(len, records.values())))
        unpacked = {id_: stored.unpack(record) for id_, record in records.items()}
        return {id_: kept for id_, kept in unpacked.items() if kept is not None}


class Responses(ChatConsumer, _StoredResponses):
    """`POST /v1/responses`."""

    __slots__ = ("_response",)

    async def read_request(self, body: bytes) -> ParsedRequest[ResponsesReply]:
        """The request, with the stored responses that it continues or refers to."""
        parsed = await self.complete(self.caller, FORMAT.draft(body))
        self._response = parsed.reply
        return parsed

    async def store_reply(self) -> None:
        """Keep the response, before the client knows that it could continue it."""
        size = self._response.record_size
        if size and self.runtime.responses.takes(size):
            await self.runtime.responses.keep(self.caller.key_id, response_id(self.id), self._response.record())


class Compact(ChatConsumer, _StoredResponses):
    """`POST /v1/responses/compact`: the model sums up a conversation, and nothing of it is kept here."""

    async def read_request(self, body: bytes) -> ParsedRequest[CompactionReply]:
        """The conversation, also a stored one, and the task."""
        draft = FORMAT.draft(body)
        parsed = await self.complete(self.caller, draft)
        return compaction_of(parsed.request, draft.items)


class _Beside(_StoredResponses):
    """What can be asked beside a chat."""

    async def kept(self) -> StoredRecord:
        """The stored response that the path names. Raise NotFound, also for another key's."""
        caller, id_ = await self.authenticate(), self.response_id
        found = await self.fetch(caller, (id_,))
        if id_ not in found:
            raise _unknown(id_)
        return found[id_]

    @property
    def response_id(self) -> str:
        """As the path names it."""
        return str(self.scope["url_route"]["kwargs"]["response_id"])

    def query(self) -> dict[str, str]:
        """The parameters of the address."""
        return dict(parse_qsl(self.scope["query_string"].decode("latin-1")))

    async def reply_json(self, body: bytes) -> None:
        """The good answer."""
        await self.reply(200, body, [JSON, *self.common_headers()])


class StoredResponse(_Beside):
    """`GET` and `DELETE /v1/responses/{id}`."""

    methods = ("GET", "HEAD", "DELETE")
    endpoint = "/v1/responses/{id}"

    async def handle(self) -> None:
        """The object as it was sent, the stream that sent it, or its end."""
        if self.scope["method"] == "DELETE":
            await self._delete()
        elif self.scope["method"] == "GET" and self.query().get("stream", "").lower() in ("true", "1"):
            await self._stream()
        else:
            await self.reply_json(bytes((await self.kept()).response))

    async def _stream(self) -> None:
        after = number_of(self.query())
        kept = await self.kept()
        await self.start_stream()
        for event in replay(kept, after):
            await self.send_part(event, last=False)
        await self.send_part(b"", last=True)

    async def _delete(self) -> None:
        caller, id_ = await self.authenticate(), self.response_id
        try:
            was_there = await self.runtime.responses.forget(caller.key_id, id_)
        except StoreUnavailable:
            raise _cannot_read() from None
        if not was_there:
            raise _unknown(id_)
        await self.reply_json(stored.deleted(id_))


class CancelResponse(_Beside):
    """`POST /v1/responses/{id}/cancel`: nothing runs in the background, so what is stored has ended."""

    methods = ("POST",)
    endpoint = "/v1/responses/{id}/cancel"

    async def handle(self) -> None:
        """The object as it is."""
        await self.reply_json(bytes((await self.kept()).response))


class InputItems(_Beside):
    """`GET /v1/responses/{id}/input_items`."""

    endpoint = "/v1/responses/{id}/input_items"

    async def handle(self) -> None:
        """A page of what the model was sent."""
        await self.reply_json(stored.input_items(await self.kept(), self.response_id, self.query()))


class InputTokens(_Beside):
    """`POST /v1/responses/input_tokens`: cheap, and outside the queue of the chats."""

    methods = ("POST",)
    endpoint = "/v1/responses/input_tokens"

    async def handle(self) -> None:
        """Estimate; no service is asked."""
        caller = await self.authenticate()
        draft = FORMAT.draft(await self.request_body(), counting=True)
        request = (await self.complete(caller, draft)).request
        await self.admit_count(caller, request.model)
        await self.reply_json(stored.token_count(self.runtime.engine.count_tokens(request, caller.key_id)))


def _cannot_read() -> Unavailable:
    return Unavailable("Stored responses cannot be read right now; try again.", retry_after=RETRY_SEC)


def _unknown(id_: str) -> NotFound:
    return NotFound(f"Response with id '{id_}' not found.")

"""The Responses endpoints: a chat with a memory, and what can be asked of that memory."""

from __future__ import annotations

from typing import cast
from urllib.parse import parse_qsl

from accounts.keys.keyring import Caller
from bridge.chat.errors import InvalidRequest, NotFound, Unavailable
from bridge.chat.request import ChatRequest
from bridge.chat.tokens import estimate_messages
from bridge.http.access import caller_of
from bridge.http.admission import admit_count
from bridge.http.consumers import ChatConsumer
from bridge.http.streaming import EVENT_STREAM, JSON, HttpConsumer
from bridge.wire.format import WireFormat
from bridge.wire.responses import compact as responses_compact
from bridge.wire.responses import encoder as responses
from bridge.wire.responses import stored as responses_kept
from bridge.wire.responses.output_items import is_response_id, response_id
from bridge.wire.responses.replay import number_of, replay
from bridge.wire.responses.request import Draft
from bridge.wire.responses.response_object import Asked
from bridge.wire.responses.stored import Kept
from sessions_store.responses import MOST_READ, StoredTooLarge, StoreUnavailable

RETRY_SEC = 5


class Responses(ChatConsumer):
    """`POST /v1/responses`."""

    format = responses.FORMAT
    endpoint = "/v1/responses"

    async def read_request(self, body: bytes) -> ChatRequest:
        """The request, with the stored responses that it continues or refers to."""
        return await _read(self, self.caller, body)

    async def keep(self, whole: bytes = b"") -> None:
        """Keep the response, before the client knows that it could continue it."""
        asked, streamed = cast("Asked", self.request.echo), None
        if self._encoder is not None:
            streamed = cast("responses.ResponsesEncoder", self._encoder)
            whole = streamed.whole
        if whole and asked.input is not None and self.runtime.responses.takes(responses_kept.size(whole, asked.input)):
            record = responses_kept.pack(whole, asked.input, streamed)
            await self.runtime.responses.keep(self.caller.key_id, response_id(self.id), record)


class Compact(ChatConsumer):
    """`POST /v1/responses/compact`: the model sums up a conversation, and nothing of it is kept here."""

    format = responses_compact.FORMAT
    endpoint = "/v1/responses/compact"

    async def read_request(self, body: bytes) -> ChatRequest:
        """The conversation, also a stored one, and the task."""
        draft = responses.FORMAT.draft(body)
        request = await _whole(self, self.caller, draft)
        return responses_compact.compacting(request, draft.told)


class _Beside(HttpConsumer):
    """What can be asked beside a chat."""

    @property
    def wire(self) -> WireFormat:
        """The path is OpenAI's alone."""
        return responses.FORMAT

    async def kept(self) -> Kept:
        """The stored response that the path names. Raise NotFound, also for another key's."""
        caller, id_ = await caller_of(self), self.response_id
        found = await _fetch(self, caller, (id_,))
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

    async def tell(self, body: bytes) -> None:
        """The good answer."""
        await self.reply(200, body, [JSON, *self.common_headers()])


class StoredResponse(_Beside):
    """`GET` and `DELETE /v1/responses/{id}`."""

    methods = ("GET", "HEAD", "DELETE")
    endpoint = "/v1/responses/{id}"

    async def handle(self) -> None:
        """The object as it was told, the stream that told it, or its end."""
        if self.scope["method"] == "DELETE":
            await self._forget()
        elif self.scope["method"] == "GET" and self.query().get("stream", "").lower() in ("true", "1"):
            await self._stream()
        else:
            await self.tell(bytes((await self.kept()).response))

    async def _stream(self) -> None:
        after = number_of(self.query())
        kept = await self.kept()
        await self.start(200, EVENT_STREAM + self.common_headers())
        for event in replay(kept, after):
            await self.send_part(event, last=False)
        await self.send_part(b"", last=True)

    async def _forget(self) -> None:
        caller, id_ = await caller_of(self), self.response_id
        try:
            was_there = await self.runtime.responses.forget(caller.key_id, id_)
        except StoreUnavailable:
            raise _cannot_read() from None
        if not was_there:
            raise _unknown(id_)
        await self.tell(responses_kept.deleted(id_))


class CancelResponse(_Beside):
    """`POST /v1/responses/{id}/cancel`: nothing runs in the background, so what is stored has ended."""

    methods = ("POST",)
    endpoint = "/v1/responses/{id}/cancel"

    async def handle(self) -> None:
        """The object as it is."""
        await self.tell(bytes((await self.kept()).response))


class InputItems(_Beside):
    """`GET /v1/responses/{id}/input_items`."""

    endpoint = "/v1/responses/{id}/input_items"

    async def handle(self) -> None:
        """A page of what the model was told."""
        await self.tell(responses_kept.input_items(await self.kept(), self.response_id, self.query()))


class InputTokens(_Beside):
    """`POST /v1/responses/input_tokens`: cheap, and outside the queue of the chats."""

    methods = ("POST",)
    endpoint = "/v1/responses/input_tokens"

    async def handle(self) -> None:
        """Estimate; no service is asked."""
        caller = await caller_of(self)
        body = await self.request_body()
        request = await _read(self, caller, body, counting=True)
        await admit_count(self, caller, request.model)
        tokens = estimate_messages(request.messages, request.tools)
        await self.tell(responses_kept.counted(self.runtime.engine.calibration.input.apply(tokens)))


async def _read(consumer: HttpConsumer, caller: Caller, body: bytes, *, counting: bool = False) -> ChatRequest:
    return await _whole(consumer, caller, responses.FORMAT.draft(body, counting=counting))


async def _whole(consumer: HttpConsumer, caller: Caller, draft: Draft) -> ChatRequest:
    """The request, with what it refers to."""
    return draft.request(await _fetch(consumer, caller, draft.needs) if draft.needs else {})


async def _fetch(consumer: HttpConsumer, caller: Caller, ids: tuple[str, ...]) -> dict[str, Kept]:
    wanted = [id_ for id_ in ids if is_response_id(id_)]
    if not wanted:
        return {}
    try:
        records = await consumer.runtime.responses.read(caller.key_id, wanted)
    except StoreUnavailable:
        raise _cannot_read() from None
    except StoredTooLarge:
        words = f"The stored responses that this request refers to exceed {MOST_READ >> 20} MiB together."
        raise InvalidRequest(words, param=("input",), code="invalid_value") from None
    await consumer.hold(caller, sum(map(len, records.values())))
    unpacked = {id_: responses_kept.unpack(record) for id_, record in records.items()}
    return {id_: kept for id_, kept in unpacked.items() if kept is not None}


def _cannot_read() -> Unavailable:
    return Unavailable("Stored responses cannot be read right now; try again.", retry_after=RETRY_SEC)


def _unknown(id_: str) -> NotFound:
    return NotFound(f"Response with id '{id_}' not found.")

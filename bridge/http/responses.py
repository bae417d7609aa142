"""The Responses endpoints: a chat with a memory, and what can be asked of that memory."""

from __future__ import annotations

from urllib.parse import parse_qsl

from accounts.keys.keyring import Caller
from bridge.chat.errors import Cancelled, InvalidRequest, NotFound, Unavailable
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
    """Requests that may refer to stored responses of the same key."""

    async def complete(self, caller: Caller, draft: Draft) -> ParsedRequest[ResponsesReply]:
        """The whole request, with the stored responses it refers to."""
        return draft.complete(await self.fetch(caller, draft.needs) if draft.needs else {})

    async def fetch(self, caller: Caller, ids: tuple[str, ...]) -> dict[str, StoredRecord]:
        """The key's stored responses of these ids, those that there are. Raise InvalidRequest or Unavailable."""
        # Other ids cannot be stored here; they would only become keys in Redis that a client has made up.
        wanted = [id_ for id_ in ids if is_response_id(id_)]
        if not wanted:
            return {}
        try:
            records = await self.runtime.responses.read(caller.key_id, wanted)
        except StoreUnavailable:
            raise _cannot_read() from None
        except StoredTooLarge:
            message = f"The stored responses that this request refers to exceed {MOST_READ >> 20} MiB together."
            raise InvalidRequest(message, param=("input",), code="invalid_value") from None
        # What is fetched takes memory like a body, and counts like one until the answer is sent.
        await self.hold(caller, sum(map(len, records.values())))
        unpacked = {id_: stored.unpack(record) for id_, record in records.items()}
        return {id_: record for id_, record in unpacked.items() if record is not None}


class Responses(ChatConsumer, _StoredResponses):
    __slots__ = ("_response",)

    async def turn(self) -> None:
        """The turn, which others of the key may look at and cancel."""
        id_ = response_id(self.id)
        # Only the process that runs the turn can cancel it.
        _running[id_] = self
        try:
            await super().turn()
        finally:
            _running.pop(id_, None)

    @property
    def so_far(self) -> StoredRecord | None:
        """The response as far as it is, in the form in which it will be stored; None when it is not to be stored."""
        return self._response.running(self.head())

    async def cancel(self) -> bytes:
        """End the turn. The object, which is kept like any other."""
        error = Cancelled()
        # Before the task is cancelled, as the row may be written at once.
        self._record.reason = error.reason
        self.end_with(error)
        body = self._response.cancel(self.head())
        await self.store_reply()
        return body

    async def read_request(self, body: bytes) -> ParsedRequest[ResponsesReply]:
        """The request, with the stored responses that it continues or refers to."""
        parsed = await self.complete(self.caller, FORMAT.draft(body))
        self._response = parsed.reply
        return parsed

    async def store_reply(self) -> None:
        """Keep the response, before the client knows that it could continue it."""
        size = self._response.record_size
        # Asked first, so that a record too large to keep is never built.
        if size and self.runtime.responses.accepts(size):
            await self.runtime.responses.store(self.caller.key_id, response_id(self.id), self._response.record())


_running: dict[str, Responses] = {}
"""Those of this process, by their ids."""


def _running_of(caller: Caller, id_: str) -> Responses | None:
    """The running response of this id, if it is the key's. One whose end is written is stored already."""
    found = _running.get(id_)
    # Another key's response is the same as none: ids must not be worth guessing.
    return found if found is not None and found.caller.key_id == caller.key_id and not found.has_row else None


class Compact(ChatConsumer, _StoredResponses):
    """`POST /v1/responses/compact`: the model sums up a conversation, and nothing of it is kept here."""

    async def read_request(self, body: bytes) -> ParsedRequest[CompactionReply]:
        """The conversation, also a stored one, and the task."""
        draft = FORMAT.draft(body)
        parsed = await self.complete(self.caller, draft)
        return compaction_of(parsed.request, draft.items)


class _StoredResponseConsumer(_StoredResponses):
    """A request about a stored response, which runs no turn."""

    async def record(self) -> StoredRecord:
        """The stored response that the path names, or one that runs here. Raise NotFound, also for another key's."""
        caller, id_ = await self.authenticate(), self.response_id
        running = _running_of(caller, id_)
        if running is not None and (so_far := running.so_far) is not None:
            return so_far
        found = await self.fetch(caller, (id_,))
        if id_ not in found:
            raise _unknown(id_)
        return found[id_]

    @property
    def response_id(self) -> str:
        """The id of the response in the path."""
        return str(self.scope["url_route"]["kwargs"]["response_id"])

    def query(self) -> dict[str, str]:
        """The parameters of the query; of repeated ones the last."""
        return dict(parse_qsl(self.scope["query_string"].decode("latin-1")))

    async def reply_json(self, body: bytes) -> None:
        """Send a JSON body with status 200."""
        await self.reply(200, body, [JSON, *self.common_headers()])


class StoredResponse(_StoredResponseConsumer):
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
            await self.reply_json(bytes((await self.record()).response))

    async def _stream(self) -> None:
        # Before the first byte is sent: a bad number can still be refused.
        after = number_of(self.query())
        record = await self.record()
        if self.response_id in _running:
            raise InvalidRequest("The response is in progress: its stream can be read again when it has ended.")
        await self.start_stream()
        for event in replay(record, after):
            await self.send_part(event, last=False)
        await self.send_part(b"", last=True)

    async def _delete(self) -> None:
        caller, id_ = await self.authenticate(), self.response_id
        try:
            existed = await self.runtime.responses.delete(caller.key_id, id_)
        except StoreUnavailable:
            raise _cannot_read() from None
        if not existed:
            # Asked last: one that has just ended is stored, and goes.
            running = _running_of(caller, id_)
            if running is not None and running.so_far is not None:
                raise InvalidRequest("The response is in progress: cancel it, or delete it when it has ended.")
            raise _unknown(id_)
        await self.reply_json(stored.deleted(id_))


class CancelResponse(_StoredResponseConsumer):
    """`POST /v1/responses/{id}/cancel`: what runs in this process ends, and what is stored has ended already."""

    methods = ("POST",)
    endpoint = "/v1/responses/{id}/cancel"

    async def handle(self) -> None:
        """Answer with the response object as it is after the cancel."""
        running = _running_of(await self.authenticate(), self.response_id)
        await self.reply_json(await running.cancel() if running else bytes((await self.record()).response))


class InputItems(_StoredResponseConsumer):
    """`GET /v1/responses/{id}/input_items`."""

    endpoint = "/v1/responses/{id}/input_items"

    async def handle(self) -> None:
        """A page of what the model was sent."""
        await self.reply_json(stored.input_items(await self.record(), self.response_id, self.query()))


class InputTokens(_StoredResponseConsumer):
    """`POST /v1/responses/input_tokens`: cheap, and outside the queue of the chats."""

    methods = ("POST",)
    endpoint = "/v1/responses/input_tokens"

    async def handle(self) -> None:
        """Answer with an estimate; no service is asked."""
        caller = await self.authenticate()
        draft = FORMAT.draft(await self.request_body(), counting=True)
        request = (await self.complete(caller, draft)).request
        await self.admit_count(caller, request.model)
        await self.reply_json(stored.token_count(self.runtime.engine.count_tokens(request, caller.key_id)))


def _cannot_read() -> Unavailable:
    return Unavailable("Stored responses cannot be read right now; try again.", retry_after=RETRY_SEC)


def _unknown(id_: str) -> NotFound:
    return NotFound(f"Response with id '{id_}' not found.")

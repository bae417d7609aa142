"""The endpoints beside the chats: models, health, readiness, metrics, smoke, and the answer to unknown paths."""

from __future__ import annotations

import asyncio
from functools import partial
from urllib.parse import parse_qsl

import msgspec

from accounts.limits.admission import may_use
from bridge.chat.errors import Forbidden, InvalidRequest, NotFound, Unauthenticated, Unavailable
from bridge.http import wrong_base_url
from bridge.http.api import ApiConsumer
from bridge.http.base import JSON, HttpConsumer
from bridge.http.readiness import public_modes, public_reason
from bridge.routing.catalogue import ModelCatalogue
from bridge.telemetry import metrics
from bridge.turn.smoke import smoke
from bridge.version import VERSION
from bridge.wire import formats, models
from bridge.wire.format import WireFormat

RENDER_SEC = 3.0
"""A scraper waits for ten."""


class Models(ApiConsumer):
    """`GET /v1/models` and `GET /v1/models/{id}`, in a shape that satisfies the clients of every format."""

    endpoint = "/v1/models"

    async def handle(self) -> None:
        """Answer with the models that the key may use, and the names that operators gave them."""
        caller = await self.authenticate()
        # What the key may not use is not listed: agents pick their model from this list.
        catalogue = ModelCatalogue(self.runtime.pool.models(), self.runtime.engine.routes, partial(may_use, caller))
        wanted: str | None = self.scope["url_route"]["kwargs"].get("model_id")
        if wanted is not None:
            await self.admit_count(caller)
        body = models.listing(catalogue.records(), self._paging()) if wanted is None else _one(catalogue, wanted)
        await self.reply(200, body, [JSON, *self.common_headers()])

    def _paging(self) -> dict[str, str]:
        # OpenAI's SDKs read the whole list at once; a page would hide the rest from them.
        if not self.format.pages_models:
            return {}
        return dict(parse_qsl(self.scope["query_string"].decode("latin-1")))


def _one(catalogue: ModelCatalogue, wanted: str) -> bytes:
    if record := catalogue.record(wanted):
        return models.one(record)
    raise NotFound(
        f"The model '{wanted}' does not exist or you do not have access to it.",
        param=("model",),
        code="model_not_found",
    )


class UnknownPath(HttpConsumer):
    """Anything else under `/v1` and where clients go with a wrong base URL, whatever the method."""

    def format_of_client(self) -> WireFormat:
        """By the path, where no header shows the format and the path belongs to one."""
        return (
            formats.by_header(self.request_headers) or wrong_base_url.format_of(self.scope["path"]) or formats.DEFAULT
        )

    def check_method(self) -> None:
        """Take every method: it is the path that is wrong."""

    async def handle(self) -> None:
        """404 in the client's format; 400 where an agent would keep the words of a 404 to itself."""
        method, path = self.scope["method"], self.scope["path"]
        message = wrong_base_url.advice(method, path)
        if method == "POST" and self.format.hides_not_found and wrong_base_url.is_chat(path):
            raise InvalidRequest(message, reason=NotFound.kind)
        raise NotFound(message)


class Hello(HttpConsumer):
    """`/api/hello`: Claude Code looks there whether anybody is at home."""

    async def handle(self) -> None:
        await self.reply(200, b'{"message":"hello"}', [JSON, *self.common_headers()])


class Health(HttpConsumer):
    """`GET /healthz`: the process answers. Nothing is asked, so that it is always fast."""

    async def handle(self) -> None:
        body = {"status": "ok", "upstream": self.runtime.upstream.decode(), "version": VERSION}
        await self.reply(200, msgspec.json.encode(body), [JSON, *self.common_headers()])


class Ready(HttpConsumer):
    """`GET /readyz`: at least one instance of this gateway can take a chat."""

    async def handle(self) -> None:
        """200, or 503 with the reasons."""
        statuses = self.runtime.pool.all_statuses()
        ready = self.runtime.pool.ready
        instances = [{"name": each.name, "state": each.state, "reason": public_reason(each)} for each in statuses]
        # Anybody may read this page, so that reasons come from a closed set of sentences.
        body = {"status": "ready" if ready else "unavailable", "degraded": public_modes(), "instances": instances}
        await self.reply(200 if ready else 503, msgspec.json.encode(body), [JSON, *self.common_headers()])


class Metrics(ApiConsumer):
    """`GET /metrics`, for the metrics token or a key that has the scope; never open."""

    endpoint = "/metrics"

    async def handle(self) -> None:
        """Prometheus' text format, with the figures of all web processes together."""
        # The token first: a scraper needs no key, and no database to check one.
        if not self.carries(self.runtime.env.metrics_token.get_secret_value()):
            caller = await self.authenticate()
            if "metrics" not in caller.scopes:
                raise Forbidden("This API key may not read metrics.", reason="scope")
        await self.reply(
            200, await _rendered(), [(b"content-type", metrics.CONTENT_TYPE.encode()), *self.common_headers()]
        )


_rendering: asyncio.Future[bytes] | None = None


async def _rendered() -> bytes:
    """Whoever asks meanwhile gets the same: files that hang hold one thread and no more. Raise Unavailable."""
    global _rendering  # noqa: PLW0603  one per process is the point
    if _rendering is None or _rendering.done():
        # In a thread, as it reads a file per process; on a disk that hangs it would else stop every stream.
        _rendering = asyncio.ensure_future(asyncio.to_thread(metrics.render))
    running = _rendering
    # `wait` does not cancel at the timeout: others may wait for the same rendering.
    await asyncio.wait({running}, timeout=RENDER_SEC)
    if not running.done():
        raise Unavailable("The files of the metrics cannot be read now.")
    return running.result()


class Smoke(ApiConsumer):
    """`POST /internal/smoke`: one short chat through every instance of this process."""

    methods = ("POST",)

    async def handle(self) -> None:
        """200 when every instance answered, else 503; the body says how each fared."""
        if not self.carries(self.runtime.env.admin_token.get_secret_value()):
            raise Unauthenticated("The admin token is missing or not valid.")
        results = await smoke(self.runtime.engine)
        # No instance at all is a failure too.
        ok = bool(results) and all(result.ok for result in results)
        body = {"ok": ok, "instances": results}
        await self.reply(200 if ok else 503, msgspec.json.encode(body), [JSON, *self.common_headers()])

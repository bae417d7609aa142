"""Paths to consumers; what is not here is Django's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any

from django.urls import URLPattern, re_path

from bridge.http import endpoints, messages, own_usage, responses, wrong_base_url
from bridge.http.chat import ChatConsumer
from bridge.wire import formats
from bridge.wire.anthropic.format import FORMAT as ANTHROPIC
from bridge.wire.format import WireFormat
from bridge.wire.responses.compact import FORMAT as COMPACTION
from bridge.wire.responses.format import FORMAT as RESPONSES

Application = Callable[[dict[str, Any], Any, Any], Awaitable[None]]

CONSUMERS: dict[str, type[ChatConsumer]] = {RESPONSES.path: responses.Responses}
"""Of formats that need more than a turn: Responses keeps its replies. All others have ChatConsumer."""


def chat_consumers(served: Iterable[WireFormat]) -> dict[str, Callable[[], Application]]:
    """Paths of chats to what makes a consumer for one request."""
    # Looked up in a dict before Channels' router is asked: most of the traffic needs no regular expression.
    return {each.path: partial(CONSUMERS.get(each.path, ChatConsumer), each) for each in served}


def chat_routes(served: Iterable[WireFormat]) -> list[URLPattern]:
    """The same paths as routes, for those who put a slash at the end."""
    chats = ((each, CONSUMERS.get(each.path, ChatConsumer)) for each in served)
    return [re_path(_exactly(each.path), consumer.as_asgi(wire_format=each)) for each, consumer in chats]


def _exactly(path: str) -> str:
    return f"^{path.removeprefix('/')}/?$"


CHAT_CONSUMERS = chat_consumers(formats.FORMATS)

# Order by traffic: the first match answers. A slash at the end is accepted, never redirected.
urlpatterns: list[URLPattern] = [
    *chat_routes(formats.FORMATS),
    re_path(r"^v1/messages/count_tokens/?$", messages.CountTokens.as_asgi(wire_format=ANTHROPIC)),
    re_path(r"^v1/responses/input_tokens/?$", responses.InputTokens.as_asgi(wire_format=RESPONSES)),
    re_path(r"^v1/responses/compact/?$", responses.Compact.as_asgi(wire_format=COMPACTION)),
    re_path(r"^v1/responses/(?P<response_id>[^/]+)/?$", responses.StoredResponse.as_asgi(wire_format=RESPONSES)),
    re_path(r"^v1/responses/(?P<response_id>[^/]+)/cancel/?$", responses.CancelResponse.as_asgi(wire_format=RESPONSES)),
    re_path(
        r"^v1/responses/(?P<response_id>[^/]+)/input_items/?$", responses.InputItems.as_asgi(wire_format=RESPONSES)
    ),
    re_path(r"^v1/models/?$", endpoints.Models.as_asgi()),
    re_path(r"^v1/models/(?P<model_id>.+?)/?$", endpoints.Models.as_asgi()),
    re_path(r"^v1/usage/?$", own_usage.OwnUsage.as_asgi()),
    re_path(r"^v1(/|$)", endpoints.UnknownPath.as_asgi()),
    re_path(r"^healthz/?$", endpoints.Health.as_asgi()),
    re_path(r"^readyz/?$", endpoints.Ready.as_asgi()),
    re_path(r"^metrics/?$", endpoints.Metrics.as_asgi()),
    re_path(r"^internal/smoke/?$", endpoints.Smoke.as_asgi()),
    re_path(r"^api/hello/?$", endpoints.Hello.as_asgi()),
    re_path(wrong_base_url.BESIDE_V1, endpoints.UnknownPath.as_asgi()),
    re_path(wrong_base_url.UNDER_A_PREFIX, endpoints.UnknownPath.as_asgi()),
]

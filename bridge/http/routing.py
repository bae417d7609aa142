"""Paths to consumers; what is not here is Django's."""

from __future__ import annotations

from django.urls import URLPattern, re_path

from bridge.http import astray, consumers, responses, views

CHATS = (consumers.ChatCompletions, consumers.Messages, responses.Responses)
CHAT_CONSUMERS = {consumer.endpoint: consumer for consumer in CHATS}

# Order by traffic: the first match answers. A slash at the end is accepted, never redirected.
urlpatterns: list[URLPattern] = [
    re_path(r"^v1/chat/completions/?$", consumers.ChatCompletions.as_asgi()),
    re_path(r"^v1/messages/?$", consumers.Messages.as_asgi()),
    re_path(r"^v1/messages/count_tokens/?$", consumers.CountTokens.as_asgi()),
    re_path(r"^v1/responses/?$", responses.Responses.as_asgi()),
    re_path(r"^v1/responses/input_tokens/?$", responses.InputTokens.as_asgi()),
    re_path(r"^v1/responses/compact/?$", responses.Compact.as_asgi()),
    re_path(r"^v1/responses/(?P<response_id>[^/]+)/?$", responses.StoredResponse.as_asgi()),
    re_path(r"^v1/responses/(?P<response_id>[^/]+)/cancel/?$", responses.CancelResponse.as_asgi()),
    re_path(r"^v1/responses/(?P<response_id>[^/]+)/input_items/?$", responses.InputItems.as_asgi()),
    re_path(r"^v1/models/?$", views.Models.as_asgi()),
    re_path(r"^v1/models/(?P<model_id>.+?)/?$", views.Models.as_asgi()),
    re_path(r"^v1(/|$)", views.UnknownPath.as_asgi()),
    re_path(r"^healthz/?$", views.Health.as_asgi()),
    re_path(r"^readyz/?$", views.Ready.as_asgi()),
    re_path(r"^metrics/?$", views.Metrics.as_asgi()),
    re_path(r"^internal/smoke/?$", views.Smoke.as_asgi()),
    re_path(r"^api/hello/?$", views.Hello.as_asgi()),
    re_path(astray.BESIDE_V1, views.UnknownPath.as_asgi()),
    re_path(astray.UNDER_A_PREFIX, views.UnknownPath.as_asgi()),
]

"""What a `chat/ask` says, read as tolerantly as the service reads it."""

from __future__ import annotations

import json
from typing import Any

import msgspec


class Ask(msgspec.Struct, kw_only=True):
    """The fields that matter; `params` is everything as it came."""

    request_id: str
    session_id: str
    prompt: str
    is_reply: bool
    stream: bool
    mode: str
    session_type: str
    model: str
    forced_tool: str
    image_urls: list[str]
    params: dict[str, Any]

    @classmethod
    def read(cls, params: dict[str, Any]) -> Ask:
        """Raise ValueError when there is no request id or no text at all."""
        request_id = params.get("requestId")
        if not isinstance(request_id, str) or not request_id:
            raise ValueError("requestId is empty")
        return cls(
            # Fields of a wrong type count as absent.
            request_id=request_id, session_id=_text(params.get("sessionId")), prompt=_prompt(params),
            is_reply=params.get("isReply") is True, stream=params.get("stream") is not False,
            mode=_text(params.get("mode")), session_type=_text(params.get("sessionType")) or "chat",
            model=_model(params), forced_tool=_forced_tool(params.get("toolConfig")),
            image_urls=_texts(_inside(params, "chatContext", "imageUrls")), params=params,
        )  # fmt: skip


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _inside(value: Any, *path: str) -> Any:
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _prompt(params: dict[str, Any]) -> str:
    context = params.get("chatContext")
    # Three places are known, of different clients; the first that has a text counts (PROTOCOL 18.4).
    text = _text(params.get("questionText")) or _text(_inside(context, "text")) or _text(context)
    if not text:
        raise ValueError("questionText is empty")
    return text


def _model(params: dict[str, Any]) -> str:
    """The key of the model: `customModel` wins over `extra.modelConfig.key`; empty means the default (PROTOCOL 9.3)."""
    return _text(_inside(params, "customModel", "model")) or _text(_inside(params, "extra", "modelConfig", "key"))


def _forced_tool(config: Any) -> str:
    choice = _inside(config, "tool_choice")
    # Both notations of OpenAI: nested and flat.
    return _text(_inside(choice, "function", "name")) or _text(_inside(choice, "name"))


def echo(ask: Ask, what: str, prompt: str, questions: list[str]) -> str:
    """The answer that the option `echo` asks for."""
    if what == "prompt":
        return prompt
    if what == "params":
        return json.dumps(ask.params, ensure_ascii=False)
    return json.dumps(
        {"turns": len(questions) + 1, "isReply": ask.is_reply, "questions": questions}, ensure_ascii=False
    )

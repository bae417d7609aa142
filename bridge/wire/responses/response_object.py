"""The response object: what never changes in it is encoded once, its ending is put behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from bridge.chat.errors import Cancelled, GatewayError
from bridge.chat.events import FinishReason, TokenUsage
from bridge.wire import sse
from bridge.wire.format import ReplyHead
from bridge.wire.openai.errors import shape_of
from bridge.wire.responses.output_items import response_id

INCOMPLETE = {FinishReason.LENGTH: "max_output_tokens", FinishReason.CONTENT_FILTER: "content_filter"}
"""Why a reply is not whole; every other reason completes it."""

FINAL_CODES = ("context_length_exceeded", "insufficient_quota")
"""Codes of ours after which Codex gives up; it repeats the turn on every code that it does not know."""

DEFAULTS: dict[str, Any] = {
    "background": False,
    "frequency_penalty": 0.0,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "presence_penalty": 0.0,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "service_tier": "default",
    "store": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}
"""Every field that is echoed, and what it is when the request does not set it."""


class ResponseObject:
    """Encodes one response at each stage of its life."""

    def __init__(self, head: ReplyHead, echoed: Mapping[str, Any]) -> None:
        """`echoed`: those of DEFAULTS that the request set."""
        self._clock = head.clock
        self._created = head.created
        fixed = {
            "id": response_id(head.request_id),
            "object": "response",
            "created_at": head.created,
            "model": head.model,
            **DEFAULTS,
            **echoed,
        }
        # The closing brace goes: the ending is appended as bytes, and the echoed tools are encoded once, not three
        # times.
        self._fixed = sse.one_line(msgspec.json.encode(fixed).removesuffix(b"}"))

    def in_progress(self) -> bytes:
        """The object while items are still added."""
        return self._without_end("in_progress")

    def cancelled(self) -> bytes:
        """The object of a response that was cancelled."""
        return self._without_end("cancelled")

    def _without_end(self, status: str) -> bytes:
        return self._with(status, (), error=None, incomplete_details=None, completed_at=None, usage=None)

    def finished(self, reason: FinishReason, output: Sequence[bytes], usage: TokenUsage) -> bytes:
        """At a good ending. `output` holds the encoded items."""
        cut = INCOMPLETE.get(reason)
        return self._with(
            status_of(reason),
            output,
            error=None,
            incomplete_details={"reason": cut} if cut else None,
            completed_at=None if cut else self._now(),
            usage=usage_object(usage),
        )

    def failed(self, error: GatewayError, output: Sequence[bytes]) -> bytes:
        """The object of a response that ended with an error."""
        body = {"code": failure_code(error), "message": _failure_message(error)}
        status = "cancelled" if isinstance(error, Cancelled) else "failed"
        return self._with(status, output, error=body, incomplete_details=None, completed_at=None, usage=None)

    def _with(self, status: str, output: Sequence[bytes], **ending: Any) -> bytes:
        tail = sse.one_line(msgspec.json.encode({"status": status, **ending})).removeprefix(b"{")
        return b'%b,"output":[%b],%b' % (self._fixed, b",".join(output), tail)

    def _now(self) -> int:
        return int(self._clock()) if self._clock else self._created


def status_of(reason: FinishReason) -> str:
    """The status at an ending that is no error: `completed` or `incomplete`."""
    return "incomplete" if reason in INCOMPLETE else "completed"


def failure_code(error: GatewayError) -> str:
    """The code of `response.failed`, chosen by what Codex does on it: repeat the turn, or give up."""
    # Codex decides by the code alone here; the HTTP status was 200 long ago.
    code = shape_of(error).code
    if code in FINAL_CODES:
        return str(code)
    if error.kind in ("rate_limited", "overloaded"):
        return "rate_limit_exceeded"
    return "server_error" if error.retryable else "invalid_prompt"


def _failure_message(error: GatewayError) -> str:
    """Codex reads from the words how long to wait."""
    if error.retry_after is None or failure_code(error) != "rate_limit_exceeded":
        return error.message
    return f"{error.message} Please try again in {error.retry_after}s."


def usage_object(usage: TokenUsage) -> dict[str, Any]:
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.thinking_tokens},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }

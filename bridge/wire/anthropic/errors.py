"""Anthropic's error object: type by kind of error, a message that begins with the path."""

from __future__ import annotations

from typing import Any

from bridge.chat.errors import BadImage, ContextFull, GatewayError, InvalidRequest
from bridge.wire.bodies import FieldError, Path

SHAPES = {
    "invalid_request": (400, "invalid_request_error"),
    "content_filter": (400, "invalid_request_error"),
    "context_full": (400, "invalid_request_error"),
    "unsupported_encoding": (415, "invalid_request_error"),
    "too_large": (413, "request_too_large"),
    "authentication": (401, "authentication_error"),
    "permission": (403, "permission_error"),
    "not_found": (404, "not_found_error"),
    "method_not_allowed": (405, "invalid_request_error"),
    "rate_limited": (429, "rate_limit_error"),
    "overloaded": (529, "overloaded_error"),
    "unavailable": (503, "overloaded_error"),
    "upstream": (502, "api_error"),
    "timeout": (504, "timeout_error"),
    "slow_client": (499, "api_error"),
    "internal": (500, "api_error"),
}

RETRY = "Please retry your request."
"""In mid-stream there is no status left to say that another try may succeed. opencode looks for these words."""

BREAKS = ("upstream", "timeout", "internal")


def status_of(error: GatewayError) -> int:
    return SHAPES.get(error.kind, (error.status, ""))[0]


def error_object(error: GatewayError, request_id: str, *, in_stream: bool = False) -> dict[str, Any]:
    """The body of an error, and of the `error` event in mid-stream."""
    kind, message = SHAPES.get(error.kind, (0, "api_error"))[1], _message(error)
    # Only for failures on this side: a refusal of the request itself would fail again in the same way.
    if in_stream and error.kind in BREAKS and not message.endswith(RETRY):
        message = f"{message} {RETRY}"
    body: dict[str, Any] = {"type": kind, "message": message}
    if error.details is not None:
        body["details"] = error.details
    return {"type": "error", "error": body, "request_id": f"req_{request_id}"}


def refusal(error: FieldError) -> InvalidRequest:
    # Broken JSON has no code of its own: it is the type of the error that says it.
    code = None if error.code == "invalid_json" else error.code
    return InvalidRequest(_field_message(error), param=error.path, code=code, details=error.details)


def path_text(path: Path) -> str:
    """The path as `messages.0.content.1.text`."""
    return ".".join(map(str, path))


def _message(error: GatewayError) -> str:
    if error.kind == "authentication":
        # Anthropic's own words, by which SDKs and agents know a wrong key.
        return "invalid x-api-key"
    if isinstance(error, ContextFull):
        return _too_long(error)
    if isinstance(error, BadImage):
        return f"Could not process image. {error.message}"  # Claude Code goes on without it
    where = path_text(error.param)
    # A FieldError has its path in its message already; other errors have it in `param` only.
    if not where or error.message.startswith(f"{where}:"):
        return error.message
    return f"{where}: {error.message}"


def _too_long(error: ContextFull) -> str:
    """The words after which Claude Code compacts the conversation."""
    if error.requested and error.most:
        return f"prompt is too long: {error.requested} tokens > {error.most} maximum"
    if error.most:
        return f"prompt is too long: the maximum of this model is {error.most} tokens"
    return "prompt is too long: it exceeds the context window of this model"


def _field_message(error: FieldError) -> str:
    return f"{path_text(error.path)}: {_complaint(error)}" if error.path else _complaint(error)


def _complaint(error: FieldError) -> str:
    match error.code:
        case "missing_required_parameter":
            return "Field required"
        case "invalid_type":
            return f"Input should be {error.expected}, not {error.got}"
        case "invalid_json":
            return f"The body of the request is not valid JSON. {error.reason}"
        case "invalid_value" | "unsupported_parameter":
            return error.reason

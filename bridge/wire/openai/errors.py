"""OpenAI's error object: type and code by kind of error, `param` as `messages[0].role`."""

from __future__ import annotations

from typing import Any

import msgspec

from bridge.chat.errors import BadImage, GatewayError, InvalidRequest
from bridge.wire.bodies import FieldError, Path

BAD_IMAGE = "The image data you provided does not represent a valid image."
"""Codex looks for this text, and asks its user to remove the image."""


class Shape(msgspec.Struct, frozen=True):
    """How one kind of error looks: the code is used unless the error brings its own."""

    status: int
    type: str
    code: str | None = None


SHAPES = {
    "invalid_request": Shape(400, "invalid_request_error"),
    "content_filter": Shape(400, "invalid_request_error", "content_filter"),
    "context_full": Shape(400, "invalid_request_error", "context_length_exceeded"),
    "unsupported_encoding": Shape(415, "invalid_request_error", "unsupported_content_encoding"),
    "too_large": Shape(413, "invalid_request_error"),
    "authentication": Shape(401, "invalid_request_error", "invalid_api_key"),
    "permission": Shape(403, "invalid_request_error"),
    "not_found": Shape(404, "invalid_request_error"),
    "method_not_allowed": Shape(405, "invalid_request_error", "method_not_supported"),
    "rate_limited": Shape(429, "rate_limit_error", "rate_limit_exceeded"),
    "overloaded": Shape(429, "rate_limit_error", "rate_limit_exceeded"),
    "unavailable": Shape(503, "service_unavailable_error", "server_is_overloaded"),
    "upstream": Shape(502, "server_error", "upstream_error"),
    "timeout": Shape(504, "server_error", "upstream_timeout"),
    "slow_client": Shape(499, "server_error", "slow_client"),
    "internal": Shape(500, "server_error"),
}

# LiteLLM takes a 401 without the first four words for a bad request.
WRONG_KEY = "Incorrect API key provided. Send a valid key of this gateway as `Authorization: Bearer <key>`."


def shape_of(error: GatewayError) -> Shape:
    # A kind that the table does not know keeps its own status, and counts as the gateway's fault.
    shape = SHAPES.get(error.kind) or Shape(error.status, "server_error")
    if error.code == "insufficient_quota":
        # OpenAI repeats the code in the type here.
        return Shape(shape.status, "insufficient_quota", error.code)
    return Shape(shape.status, shape.type, error.code or shape.code)


def error_object(error: GatewayError) -> dict[str, Any]:
    """The body of an error, and of the event that has one in mid-stream: all four keys, always.

    Beside OpenAI's there is `details`, where the error has any: the same as in Anthropic's.
    """
    shape = shape_of(error)
    body: dict[str, Any] = {
        "message": _message(error),
        "type": shape.type,
        # All keys are there even when null: SDKs read them without a default.
        "param": path_text(error.param) or None,
        "code": shape.code,
    }
    if error.details is not None:
        body["details"] = error.details
    return {"error": body}


def _message(error: GatewayError) -> str:
    if error.kind == "authentication":
        return WRONG_KEY
    return f"{error.message} {BAD_IMAGE}" if isinstance(error, BadImage) else error.message


def refusal(error: FieldError) -> InvalidRequest:
    # OpenAI's refusal of broken JSON has no code.
    code = None if error.code == "invalid_json" else error.code
    return InvalidRequest(_field_message(error), param=error.path, code=code)


def path_text(path: Path) -> str:
    """The path as `messages[0].content[1].text`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")


def _field_message(error: FieldError) -> str:
    where = path_text(error.path)
    match error.code:
        case "missing_required_parameter":
            return f"Missing required parameter: '{where}'."
        case "invalid_type":
            subject = f"Invalid type for '{where}'" if where else "Invalid type of the body"
            return f"{subject}: expected {error.expected}, but got {error.got} instead."
        case "invalid_value":
            return f"Invalid value for '{where}'. {error.reason}"
        case "unsupported_parameter":
            return f"Unsupported parameter: '{where}'. {error.reason}"
        case "invalid_json":
            return f"The body of the request is not valid JSON. {error.reason}"

"""The method names of dialect A and the shapes of what the service sends (PROTOCOL 6 to 10, 13)."""

from __future__ import annotations

from typing import Any

import msgspec

from bridge.lingma.dialects.base import Delta, Failure, Uploaded
from gateway_project.lib.json_errors import UNREADABLE

INITIALIZE = "initialize"
AUTH_STATUS = "auth/status"
QUERY_MODELS = "config/queryModels"
UPDATE_ENDPOINT = "config/updateEndpoint"
PING = "ping"
ASK = "chat/ask"
STOP = "chat/stop"
ANSWER = "chat/answer"
THINK = "chat/think"
FINISH = "chat/finish"
TOOL_INVOKE = "tool/invoke"
TOOL_INVOKE_RESULT = "tool/invokeResult"
TOOL_SYNC = "tool/call/sync"
TOOL_APPROVE = "tool/call/approve"
IMAGE_UPLOAD = "image/upload"
IMAGE_UPLOADED = "image/uploadResultNotification"
TOOL_EVENTS = (TOOL_SYNC, TOOL_INVOKE, TOOL_APPROVE, TOOL_INVOKE_RESULT)  # PROTOCOL 17.5
FATAL = frozenset({"error", "fatal_error", "chat/error"})  # PROTOCOL 9.6, others that may arrive
STATE_CHANGED = frozenset(
    {"auth/report", "auth/syncTokenUpdate", "config/changeEndpoint", "config/refreshModels", "model/refresh"}
)  # PROTOCOL 7.5: read auth/status and config/queryModels again instead of trusting the payload

PASSIVE = frozenset(
    {
        "chat/think", "chat/process_step_callback", "session/title/update", "context/usage/sync", "tool/call/sync",
        "tool/invoke", "tool/call/approve", "tool/invokeResult", "snapshot/syncAll", "workingSpaceFile/sync",
        "chat/codeChange/apply/finish", "commitMsg/answer", "commitMsg/finish", "chat/filterTimeout", "chat/delete",
        "chat/notification", "chat/publish/notice", "error/notificationError", "system/network_recover", "update/ready",
        "extension/register", "config/changeGlobal", IMAGE_UPLOADED, "task/status/sync",
        "user/inprogress/task/sync", "user/task/stats/sync", "task/planProgress/content/sync", "window/logMessage",
        "telemetry/event", "client/registerCapability", "chat/answer", "chat/finish",
    }
)  # fmt: skip  # PROTOCOL 13: known, and nothing to do but to acknowledge them


class Answer(Delta, gc=False):
    """`chat/answer` and `chat/think` (PROTOCOL 9.6): `text`, else `content` (PROTOCOL 17.4)."""

    request_id: str = msgspec.field(default="", name="requestId")
    text: str | None = None
    replaces: bool | None = msgspec.field(default=None, name="overwrite")
    content: str | None = None

    def other_text(self) -> str:
        return self.content or ""


class FinishParams(msgspec.Struct, gc=False):
    """`chat/finish` (PROTOCOL 9.6)."""

    requestId: str = ""  # noqa: N815  the protocol's spelling
    sessionId: str | None = None  # noqa: N815
    statusCode: int | str | None = None  # noqa: N815
    reason: str | None = None
    fullAnswer: str | None = None  # noqa: N815


class _FatalParams(msgspec.Struct, gc=False):
    """`error`, `fatal_error`, `chat/error`: shapes not recorded, read defensively (PROTOCOL 9.6)."""

    requestId: str | None = None  # noqa: N815
    message: str | None = None
    error: Any = None


class _AboutParams(msgspec.Struct, gc=False):
    requestId: str = ""  # noqa: N815


class _UploadResult(msgspec.Struct, gc=False):
    """What both messages about an upload carry (PROTOCOL 10): the answer `success`, the notification the rest."""

    requestId: str | None = None  # noqa: N815
    imageUrl: str | None = None  # noqa: N815
    success: bool | None = None


class _UploadParams(msgspec.Struct, gc=False):
    """The answer to `image/upload`, or the params of `image/uploadResultNotification` (PROTOCOL 10)."""

    requestId: str | None = None  # noqa: N815
    errorCode: Any = None  # noqa: N815
    errorMessage: str | None = None  # noqa: N815
    result: _UploadResult | None = None

    @property
    def upload_id(self) -> str:
        """An error may come without a result."""
        # A notification names the image within `result`; an error may come without one.
        return (self.result and self.result.requestId) or self.requestId or ""

    @property
    def problem(self) -> str:
        """The failure in words; "" for a success. Any code means failure (PROTOCOL 5.3)."""
        failed = self.errorCode or self.errorMessage or (self.result is not None and self.result.success is False)
        return f"{self.errorCode or ''} {self.errorMessage or ''}".strip() or "no reason given" if failed else ""


class AuthStatus(msgspec.Struct):
    """`auth/status` (PROTOCOL 7.1), without the tokens: what is not read cannot leak."""

    status: int | str | None = None
    whitelist: int | str | None = None
    expireTime: int | str | None = None  # noqa: N815


class _AskResult(msgspec.Struct):
    success: bool | None = None
    isSuccess: bool | None = None  # noqa: N815
    errorMessage: str | None = None  # noqa: N815


class _ServerInfo(msgspec.Struct):
    version: str | None = None


class _Initialized(msgspec.Struct):
    serverInfo: _ServerInfo | None = None  # noqa: N815


# The decoder's own method, without a function of ours around it: it runs for every chunk.
read_answer = msgspec.json.Decoder(Answer).decode
decode_finish = msgspec.json.Decoder(FinishParams).decode
_decode_fatal = msgspec.json.Decoder(_FatalParams).decode
_decode_about = msgspec.json.Decoder(_AboutParams).decode
_decode_upload = msgspec.json.Decoder(_UploadParams).decode
decode_auth_status = msgspec.json.Decoder(AuthStatus).decode
_decode_ask_result = msgspec.json.Decoder(_AskResult).decode
_decode_initialized = msgspec.json.Decoder(_Initialized).decode


def read_fatal(params: bytes) -> Failure:
    answer = _decode_fatal(params)
    return Failure(answer.requestId or "", str(answer.message or answer.error))


def request_id_of(params: bytes) -> str:
    """The request id of the turn that any other push is about, or "". Raise what is UNREADABLE."""
    return _decode_about(params).requestId


def read_upload(params: bytes) -> Uploaded:
    """The answer to an upload, or its notification."""
    answer = _decode_upload(params)
    return Uploaded(answer.upload_id, (answer.result and answer.result.imageUrl) or "", answer.problem)


def version_of(result: bytes) -> str:
    """The core version out of the result of `initialize`, or ""."""
    try:
        info = _decode_initialized(result).serverInfo
    except UNREADABLE:
        return ""
    return (info and info.version) or ""


def refusal_of(result: bytes) -> str | None:
    """The message of an immediate result of `chat/ask` that is a failure; None for any other (PROTOCOL 9.5)."""
    try:
        answer = _decode_ask_result(result)
    except UNREADABLE:
        # An unknown shape is no refusal: only an explicit `false` fails the question (PROTOCOL 9.5).
        return None
    if answer.success is False or answer.isSuccess is False:
        return answer.errorMessage or "the service did not take the question"
    return None

"""Dialect A (PROTOCOL 6 to 9, 17.3): the method names and payloads of the service, and what its answers mean."""

from __future__ import annotations

from typing import Any

import msgspec

from bridge.chat.errors import (
    ContentFiltered,
    Forbidden,
    GatewayError,
    InvalidRequest,
    RateLimited,
    Unavailable,
    UpstreamFailed,
    UpstreamTimeout,
)
from bridge.chat.request import AskMode
from bridge.lingma.dialects import reasons

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

LOGGED_IN = 2  # auth/status.status (PROTOCOL 7.1)

# PROTOCOL 17.3 fixes the profile fields; the rest follows PROTOCOL 9.3, which is not known to its end
# (PROTOCOL 20, no. 1). All of it can be changed per mode by LINGMA_ASK_OVERRIDES, and nowhere else.
_COMMON: dict[str, Any] = {
    "stream": True,
    "source": 1,
    "taskDefinitionType": "system",
    "codeLanguage": "",
    "shellType": "",
    "targetAgent": "",
    "customModel": None,
    "pluginPayloadConfig": {"isEnableAutoMemory": False, "isEnableAskAgent": False, "isEnableProjectRule": False},
}
_PROFILES: dict[AskMode, dict[str, Any]] = {
    "chat": {"sessionType": "chat", "chatTask": "FREE_INPUT", "mode": "chat"},
    "agent": {"sessionType": "ask", "chatTask": "chat", "mode": "agent"},
}


class Ask(msgspec.Struct, frozen=True):
    """One turn as the service is asked for it. `text` is the whole flattened prompt, or the new text of a reply."""

    request_id: str
    session_id: str
    text: str
    model: str
    mode: AskMode = "chat"
    is_reply: bool = False
    image_urls: tuple[str, ...] = ()
    """As the service named them when they were uploaded (PROTOCOL 10)."""
    tool_config: dict[str, Any] | None = None
    """What `tool_config.tool_config` makes; None: the request says nothing of tools."""


class AnswerParams(msgspec.Struct, gc=False):
    """`chat/answer` and `chat/think` (PROTOCOL 9.6): `text`, else `content` (PROTOCOL 17.4)."""

    requestId: str = ""  # noqa: N815  the protocol's spelling
    text: str | None = None
    content: str | None = None
    overwrite: bool | None = None


class FinishParams(msgspec.Struct, gc=False):
    """`chat/finish` (PROTOCOL 9.6)."""

    requestId: str = ""  # noqa: N815
    sessionId: str | None = None  # noqa: N815
    statusCode: int | str | None = None  # noqa: N815
    reason: str | None = None
    fullAnswer: str | None = None  # noqa: N815


class FatalParams(msgspec.Struct, gc=False):
    """`error`, `fatal_error`, `chat/error`: shapes not recorded, read defensively (PROTOCOL 9.6)."""

    requestId: str | None = None  # noqa: N815
    message: str | None = None
    error: Any = None


class AboutParams(msgspec.Struct, gc=False):
    """Which turn any other push is about."""

    requestId: str = ""  # noqa: N815


class UploadResult(msgspec.Struct, gc=False):
    """What both messages about an upload carry (PROTOCOL 10): the answer `success`, the notification the rest."""

    requestId: str | None = None  # noqa: N815
    imageUrl: str | None = None  # noqa: N815
    success: bool | None = None


class UploadParams(msgspec.Struct, gc=False):
    """The answer to `image/upload`, or the params of `image/uploadResultNotification` (PROTOCOL 10)."""

    requestId: str | None = None  # noqa: N815
    errorCode: Any = None  # noqa: N815
    errorMessage: str | None = None  # noqa: N815
    result: UploadResult | None = None

    @property
    def upload_id(self) -> str:
        """Which upload it is about; an error may come without a result."""
        return (self.result and self.result.requestId) or self.requestId or ""

    @property
    def url(self) -> str:
        """What `imageUrls` of a question calls the image, or ""."""
        return (self.result and self.result.imageUrl) or ""

    @property
    def problem(self) -> str:
        """Why it failed, or ""; any code means failure (PROTOCOL 5.3)."""
        failed = self.errorCode or self.errorMessage or (self.result is not None and self.result.success is False)
        return f"{self.errorCode or ''} {self.errorMessage or ''}".strip() or "no reason given" if failed else ""


class AuthStatus(msgspec.Struct):
    """`auth/status` (PROTOCOL 7.1), without the tokens: what is not read cannot leak."""

    status: int | str | None = None

    @property
    def logged_in(self) -> bool:
        """2 means logged in; nothing else is known to."""
        return str(self.status) == str(LOGGED_IN)


class Model(msgspec.Struct, frozen=True):
    """One entry of the `chat` scene (PROTOCOL 8.3)."""

    key: str
    displayName: str | None = None  # noqa: N815
    isVl: bool = False  # noqa: N815
    """It understands images."""
    isReasoning: bool = False  # noqa: N815
    isDefault: bool = False  # noqa: N815
    maxInputTokens: int = 0  # noqa: N815
    """0: the service does not say, as it mostly does."""


class _AskResult(msgspec.Struct):
    success: bool | None = None
    isSuccess: bool | None = None  # noqa: N815
    errorMessage: str | None = None  # noqa: N815


class _ServerInfo(msgspec.Struct):
    version: str | None = None


class _Initialized(msgspec.Struct):
    serverInfo: _ServerInfo | None = None  # noqa: N815


decode_answer = msgspec.json.Decoder(AnswerParams).decode
decode_finish = msgspec.json.Decoder(FinishParams).decode
decode_fatal = msgspec.json.Decoder(FatalParams).decode
decode_about = msgspec.json.Decoder(AboutParams).decode
decode_upload = msgspec.json.Decoder(UploadParams).decode
decode_auth_status = msgspec.json.Decoder(AuthStatus).decode
_decode_ask_result = msgspec.json.Decoder(_AskResult).decode
_decode_initialized = msgspec.json.Decoder(_Initialized).decode


def initialize_params(workspace: str) -> dict[str, Any]:
    """6.1, LSP style. Without a workspace the service logs errors, so the work dir serves as one."""
    uri = f"file://{workspace}"
    return {
        "processId": None,
        "clientInfo": {"name": "lingma-gateway", "version": "1.0"},
        "rootUri": uri,
        "capabilities": {},
        "workspaceFolders": [{"uri": uri, "name": "workspace"}],
    }


def version_of(result: bytes) -> str:
    """The core version out of the result of `initialize`, or ""."""
    try:
        info = _decode_initialized(result).serverInfo
    except msgspec.DecodeError:
        return ""
    return (info and info.version) or ""


def ask_params(ask: Ask, overrides: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The payload of `chat/ask` (PROTOCOL 9.3, 17.3)."""
    context: dict[str, Any] = {"text": ask.text, "preferredLanguage": "zh-CN", "localeLang": "zh-CN"}
    if ask.image_urls:
        context["imageUrls"] = list(ask.image_urls)
    tools = {} if ask.tool_config is None else {"toolConfig": ask.tool_config}
    return {
        "requestId": ask.request_id,
        "sessionId": ask.session_id,
        **_PROFILES[ask.mode],
        **_COMMON,
        "isReply": ask.is_reply,
        "questionText": ask.text,
        "extra": {"context": [], "modelConfig": {"key": ask.model}},
        "chatContext": context,
        **tools,
        **overrides.get(ask.mode, {}),
    }


def upload_params(request_id: str, data_uri: str) -> dict[str, Any]:
    """The payload of `image/upload` (PROTOCOL 10): a `data:` URI, never a path."""
    return {"requestId": request_id, "imageUri": data_uri}


def ask_refused(result: bytes) -> str | None:
    """Why the immediate result of `chat/ask` is a failure, or None (PROTOCOL 9.5)."""
    try:
        told = _decode_ask_result(result)
    except msgspec.DecodeError:
        return None
    if told.success is False or told.isSuccess is False:
        return told.errorMessage or "the service did not take the question"
    return None


def models_of(result: bytes) -> list[Model]:
    """The models of the `chat` scene; with another shape, every object that has an id and a name (PROTOCOL 8.3)."""
    scenes = msgspec.json.decode(result)
    chat = scenes.get("chat") if isinstance(scenes, dict) else None
    found = list(_walk(chat if isinstance(chat, list) and chat else scenes))
    return list({model.key: model for model in found}.values())


def _walk(node: Any) -> list[Model]:
    if isinstance(node, list):
        return [model for item in node for model in _walk(item)]
    if not isinstance(node, dict):
        return []
    key = next((node[k] for k in ("key", "modelId", "id") if isinstance(node.get(k), str)), "")
    name = next((node[k] for k in ("displayName", "name", "label", "title") if isinstance(node.get(k), str)), None)
    if key and name is not None:
        vision, reasoning, default = (node.get(k) is True for k in ("isVl", "isReasoning", "isDefault"))
        most = node.get("maxInputTokens")
        return [Model(key, name, vision, reasoning, default, max(0, most) if type(most) is int else 0)]
    return [model for item in node.values() for model in _walk(item)]


_FAILED_CODES: dict[int, type[GatewayError]] = {
    110: RateLimited,
    112: Forbidden,
    400: InvalidRequest,
    401: Unavailable,
    403: Forbidden,
    406: ContentFiltered,
    408: UpstreamTimeout,
    429: RateLimited,
    601: ContentFiltered,
    10010: RateLimited,
    10011: Forbidden,
    10605: RateLimited,
}
_RATE_LIMITED = "The Lingma service is rate limited; try again later."
_NO_PLAN = "The plan of the Lingma account is used up, or it has none."
_WORDS: dict[int, str] = {
    110: _RATE_LIMITED,
    112: _NO_PLAN,
    400: "The Lingma service refused the request.",
    401: "The Lingma login of this instance is gone; an operator must log in again.",
    403: "The Lingma account may not do this, or its quota is used up.",
    406: "The Lingma service blocked this conversation; start a new one.",
    408: "The Lingma service timed out.",
    429: _RATE_LIMITED,
    601: "The Lingma service filtered the content.",
    10010: _RATE_LIMITED,
    10011: _NO_PLAN,
    10605: "The Lingma service has put the request into a queue of its own; try again later.",
}
_CODES_OF_KIND: dict[int, str] = {
    112: "insufficient_quota", 10011: "insufficient_quota", 406: "content_filter", 601: "content_filter"
}  # fmt: skip
_WRAPPERS = frozenset({403, 418})
_GOOD_REASONS = frozenset({"success", "completed", "end_turn", "cancelled"})


def finish_error(finish: FinishParams) -> GatewayError | None:
    """What the code of a `chat/finish` means (PROTOCOL 9.6), read with its reason: None for 200, the only success."""
    try:
        code = int(finish.statusCode or 0)
    except ValueError:
        code = 0
    if code == 200:
        return None
    reason = finish.reason or ""
    if code in _WRAPPERS:
        code = reasons.wrapped_code(reason) or code
    kind = _FAILED_CODES.get(code, UpstreamFailed)
    words = _WORDS.get(code, f"The Lingma service failed the turn with code {code}.")
    return reasons.read(reason, kind(_quoting(words, reason), code=_CODES_OF_KIND.get(code)))


def failure(words: str, reason: str) -> GatewayError:
    """A failure that has no code: what its reason says, else that the service failed the turn."""
    return reasons.read(reason, UpstreamFailed(f"{words}: {reason[:200]}"))


def is_full(finish: FinishParams) -> GatewayError | None:
    """Of a good ending without any text: its reason says that the prompt does not fit into the context."""
    if finish.fullAnswer or not finish.reason or finish.reason in _GOOD_REASONS:
        return None
    return reasons.context_full(finish.reason)


def _quoting(words: str, reason: str) -> str:
    return f"{words} It said: {reason[:200]}" if reason else words


def approval(request_id: str, session_id: str, tool_id: str, *, allowed: bool) -> dict[str, Any]:
    """`tool/call/approve` (PROTOCOL 11.6)."""
    ids = {"sessionId": session_id, "requestId": request_id, "toolCallId": tool_id}
    return {"type": "tool_call", **ids, "approval": allowed}


def tool_result(tool_id: str, name: str, result: Any) -> dict[str, Any]:
    """What the service itself said a tool has given, told back to it (PROTOCOL 11.5)."""
    if isinstance(result, list) and len(result) == 1:
        result = result[0]
    if not isinstance(result, dict):
        result = {"results": result} if isinstance(result, list) else {"content": result}
    return {"toolCallId": tool_id, "name": name, "success": True, "errorMessage": "", "result": result}


def no_tool_result(tool_id: str, name: str, why: str) -> dict[str, Any]:
    """The same for a tool that has given nothing (PROTOCOL 11.4, 11.5)."""
    return {"toolCallId": tool_id, "name": name, "success": False, "errorMessage": why, "result": {}}

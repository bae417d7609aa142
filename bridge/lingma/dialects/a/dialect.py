"""Dialect A as the rest of the gateway uses it (PROTOCOL 6 to 11, 17.3)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import msgspec

from bridge.chat.request import AskMode
from bridge.lingma.dialects.a import logins, messages, tool_events
from bridge.lingma.dialects.a.accounts import account_of
from bridge.lingma.dialects.a.endings import read_finish
from bridge.lingma.dialects.a.models import models_of
from bridge.lingma.dialects.a.tool_config import tool_config
from bridge.lingma.dialects.base import (
    AccountFacts,
    Ask,
    Call,
    Dialect,
    LogFormat,
    LoggedUsage,
    Model,
    Pushes,
    Uploaded,
)
from bridge.logins.credentials import AccessKey, DeviceTokens, PersonalToken

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

PUSHES: Final = Pushes(
    texts={messages.ANSWER: messages.read_answer},
    thoughts={messages.THINK: messages.read_answer},
    endings={messages.FINISH: read_finish},
    failures=dict.fromkeys(messages.FATAL, messages.read_fatal),
    tools={method: partial(tool_events.read, method) for method in messages.TOOL_EVENTS},
    invocations=frozenset({messages.TOOL_INVOKE}),
    uploads={messages.IMAGE_UPLOADED: messages.read_upload},
    account=messages.STATE_CHANGED,
    passive=messages.PASSIVE,
)
LOG: Final = LogFormat(
    path="logs/lingma.log",
    usage=b"[TOKEN_USAGE]: ",
    decode=msgspec.json.Decoder(LoggedUsage).decode,
    late_ack=b"no response from client",
    renewal=b"enew token",
    renewed=b"renew token success",
)  # PROTOCOL 3.3: the only place with real token usage


class DialectA(Dialect):
    """`ask_overrides` are fields of `chat/ask` by mode, which win over those that are written here."""

    pushes = PUSHES
    repeats = True  # F14
    log = LOG

    def __init__(self, ask_overrides: Mapping[str, dict[str, Any]] | None = None) -> None:
        self._ask_overrides = ask_overrides or {}

    def request_id_of(self, params: bytes) -> str:
        return messages.request_id_of(params)

    def initialize(self, workspace: str) -> Call:
        """PROTOCOL 6.1, LSP style. Without a workspace the service logs errors, so the work dir serves as one."""
        uri = f"file://{workspace}"
        return messages.INITIALIZE, {
            "processId": None,
            "clientInfo": {"name": "lingma-gateway", "version": "1.0"},
            "rootUri": uri,
            "capabilities": {},
            "workspaceFolders": [{"uri": uri, "name": "workspace"}],
        }

    def version_of(self, result: bytes) -> str:
        return messages.version_of(result)

    def use_endpoint(self, url: str) -> Call:
        return messages.UPDATE_ENDPOINT, {"endpoint": url}

    def login_status(self) -> Call:
        """`auth/status` (PROTOCOL 7.1)."""
        return messages.AUTH_STATUS, {}

    def account_of(self, result: bytes) -> AccountFacts:
        """By `status`, and by `whitelist` where that is known."""
        return account_of(messages.decode_auth_status(result))

    def login_url(self) -> Call:
        """`login/generateUrl` (PROTOCOL 7.2)."""
        return logins.login_url()

    def url_of(self, result: bytes) -> str:
        return logins.url_of(result)

    def log_in_with(self, credentials: AccessKey | PersonalToken | DeviceTokens) -> Call:
        """`auth/login` (PROTOCOL 7.2) or `auth/device_login` (PROTOCOL 7.3)."""
        return logins.log_in_with(credentials)

    def is_taken(self, result: bytes) -> bool:
        return logins.is_taken(result)

    def list_models(self) -> Call:
        """`config/queryModels` (PROTOCOL 8.3)."""
        return messages.QUERY_MODELS, {}

    def models_of(self, result: bytes) -> list[Model]:
        """Those of the `chat` scene."""
        return models_of(result)

    def ping(self) -> Call:
        return messages.PING, {}

    def ask(self, ask: Ask) -> Call:
        """`chat/ask` (PROTOCOL 9.3, 17.3)."""
        context: dict[str, Any] = {"text": ask.text, "preferredLanguage": "zh-CN", "localeLang": "zh-CN"}
        if ask.image_urls:
            context["imageUrls"] = list(ask.image_urls)
        tools = {} if ask.tools is None else {"toolConfig": tool_config(ask.tools)}
        return messages.ASK, {
            # Later keys win: the operator's overrides come last, so that they can change any field.
            "requestId": ask.request_id,
            "sessionId": ask.session_id,
            **_PROFILES[ask.mode],
            **_COMMON,
            "isReply": ask.is_reply,
            "questionText": ask.text,
            "extra": {"context": [], "modelConfig": {"key": ask.model}},
            "chatContext": context,
            **tools,
            **self._ask_overrides.get(ask.mode, {}),
        }

    def refusal_of(self, result: bytes) -> str | None:
        return messages.refusal_of(result)

    def stop(self, request_id: str, session_id: str) -> Call:
        """`chat/stop` (PROTOCOL 9.7)."""
        return messages.STOP, {"requestId": request_id, "sessionId": session_id}

    def upload(self, upload_id: str, data_uri: str) -> Call:
        """`image/upload` (PROTOCOL 10): a `data:` URI, never a path."""
        return messages.IMAGE_UPLOAD, {"requestId": upload_id, "imageUri": data_uri}

    def upload_answer(self, result: bytes) -> Uploaded:
        """Of the same shape as the notification."""
        return messages.read_upload(result)

    def name_in_text(self, text: str, tool_id: str) -> str:
        """On the card that announces the call (PROTOCOL 9.6)."""
        return tool_events.name_on_card(text, tool_id)

    def approve(self, request_id: str, session_id: str, tool_id: str, *, allowed: bool) -> Call:
        """`tool/call/approve` (PROTOCOL 11.6)."""
        ids = {"sessionId": session_id, "requestId": request_id, "toolCallId": tool_id}
        return messages.TOOL_APPROVE, {"type": "tool_call", **ids, "approval": allowed}

    def tool_result(self, tool_id: str, name: str, result: bytes) -> Call:
        """`tool/invokeResult` (PROTOCOL 11.5), whose `result` is always an object."""
        given = msgspec.json.decode(result)
        # The service reports a list of results, but takes one object.
        if isinstance(given, list) and len(given) == 1:
            given = given[0]
        if not isinstance(given, dict):
            given = {"results": given} if isinstance(given, list) else {"content": given}
        params = {"toolCallId": tool_id, "name": name, "success": True, "errorMessage": "", "result": given}
        return messages.TOOL_INVOKE_RESULT, params

    def no_tool_result(self, tool_id: str, name: str, why: str) -> Call:
        """The same for a tool that has given nothing (PROTOCOL 11.4, 11.5)."""
        params = {"toolCallId": tool_id, "name": name, "success": False, "errorMessage": why, "result": {}}
        return messages.TOOL_INVOKE_RESULT, params

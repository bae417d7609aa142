"""The methods a client may call: dispatch, lifecycle, login and settings. Chat methods have a module of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from . import chat_methods, images
from .errors import RpcError
from .peer import Message, Peer

if TYPE_CHECKING:
    from .service import Service

Params = dict[str, Any]
Method = Callable[["Service", Peer, Params], Any]
SILENCE = object()
EMPTY_REQUEST = "json: cannot unmarshal array into Go value of type definition.EmptyRequest"
BEFORE_INITIALIZE = {"initialize", "exit", "shutdown", "simulator/report"}
SETTINGS = {
    "proxyMode": "system", "commandDenyList": [], "mcpAutoRun": False, "terminalRunMode": "ask",
    "webToolsExecutionMode": "ask", "askModeUseTools": False, "browserRunMode": "ask", "browserToolsRunMode": "ask",
}  # fmt: skip
CAPABILITIES = {
    "textDocumentSync": {"openClose": True, "change": 1},
    "completionProvider": {"resolveProvider": False, "triggerCharacters": ["."]},
}


class Methods:
    """The table of methods, applied to one message at a time."""

    def __init__(self, service: Service) -> None:
        self.service = service

    def call(self, peer: Peer, message: Message) -> None:
        """Do one request or notification; a notification never gets an answer, not even an error."""
        is_request = message.id is not msgspec.UNSET
        request_id = message.id if not isinstance(message.id, msgspec.UnsetType) else None
        self.service.look_at_controls()
        name = message.method or ""
        if name == "chat/ask":
            chat_methods.ask(self.service, peer, _object(message.params), request_id, is_request=is_request)
            return
        try:
            result = self._run(peer, name, message, is_request=is_request)
        except RpcError as exc:
            if is_request:
                peer.refuse(request_id, exc.code, exc.message)
            return
        if is_request and result is not SILENCE:
            peer.answer(request_id, result)

    def _run(self, peer: Peer, name: str, message: Message, *, is_request: bool) -> Any:
        method = METHODS.get(name)
        if method is None:
            kind = str(is_request).lower()
            self.service.log.write(f"err occur in {name}, isReq: {kind}, err: unknown method: {name}")
            raise RpcError(-32601, f"unknown method: {name}")
        if self.service.controls.service.need_initialize and not peer.initialized and name not in BEFORE_INITIALIZE:
            raise RpcError(-32002, "server not initialized")
        params = _object(message.params)
        if params is None:
            raise RpcError(-32602, EMPTY_REQUEST)
        return method(self.service, peer, params)


def _object(params: msgspec.Raw | msgspec.UnsetType) -> Params | None:
    value = msgspec.json.decode(params) if isinstance(params, msgspec.Raw) else None
    return value if isinstance(value, dict) else None


def _initialize(service: Service, peer: Peer, params: Params) -> Any:
    if service.controls.service.initialize_silent:
        return SILENCE
    peer.initialized = True
    if not params.get("workspaceFolders") and not params.get("rootUri"):
        service.log.write("get mtree failed: workspacePath is empty")
    knobs = service.controls.service
    info = {"name": knobs.server_name, "version": knobs.version_string}
    return {"capabilities": CAPABILITIES, "serverInfo": info}


def _auth_status(service: Service, peer: Peer, params: Params) -> Any:
    return service.account.status(service.controls.service.auth_status)


def _generate_url(service: Service, peer: Peer, params: Params) -> Any:
    return service.account.begin(service.http_port, service.controls.service.nonce_expires_sec)


def _login(service: Service, peer: Peer, params: Params) -> Any:
    kind = params.get("loginType") or ""
    if kind:
        service.log_in(uid=str(params.get("userId") or ""), token=str(params.get("personalToken") or ""))
    url = service.account.begin(service.http_port, service.controls.service.nonce_expires_sec)["loginUrl"]
    return {"url": "" if kind else url, "success": True}


def _auth_callback(service: Service, peer: Peer, params: Params) -> Any:
    attempt = service.account.attempt(str(params.get("nonce") or ""))
    if attempt is None:
        return {"success": False, "errorCode": "INVALID_NONCE", "errorMsg": "Invalid login nonce or consumed, ignore"}
    del service.account.attempts[attempt.nonce]
    service.log_in()
    return {"success": True, "errorCode": "", "errorMsg": ""}


def _device_login(service: Service, peer: Peer, params: Params) -> Any:
    if not params.get("token") or not params.get("userId"):
        raise RpcError(-32602, "token or userId is empty")
    service.log_in(
        name=str(params.get("username") or ""), uid=str(params["userId"]), token=str(params["token"]),
        refresh_token=str(params.get("refreshToken") or ""),
    )  # fmt: skip
    return {"success": True}


def _refresh_token(service: Service, peer: Peer, params: Params) -> Any:
    """Two forms are known: with six fields, and with the name of an older code."""
    old_form = "securityOauthToken" in params
    token = str(params.get("securityOauthToken") or params.get("token") or "")
    user = service.renew_tokens(token=token, refresh_token=str(params.get("refreshToken") or ""))
    if not old_form:
        return {"success": user is not None, "errorCode": "", "errorMsg": "" if user else "not logged in"}
    return {
        "errorCode": None if user else "NOT_LOGIN", "errorMessage": None if user else "not logged in",
        "success": user is not None, "uid": user.uid if user else "", "name": user.name if user else "",
        "tokenExpireTime": str(user.expire_time) if user else "",
    }  # fmt: skip


def _logout(service: Service, peer: Peer, params: Params) -> Any:
    service.log_out()
    return {"success": True}


def _query_models(service: Service, peer: Peer, params: Params) -> Any:
    return service.models()


def _update_endpoint(service: Service, peer: Peer, params: Params) -> Any:
    service.endpoint = str(params.get("endpoint") or "")
    service.broadcast("config/changeEndpoint", {"endpoint": service.endpoint})
    return {"success": True}


def _profile_url(service: Service, peer: Peer, params: Params) -> Any:
    return {"url": f"http://127.0.0.1:{service.http_port}/profile?theme=light&state={service.chance.hex()}"}


def _plan(service: Service, peer: Peer, params: Params) -> Any:
    if plan := service.controls.service.user_plan:
        return {"plan": plan}
    raise RpcError(-32603, "failed to get user plan info: HTTP status 404")


def _credit(service: Service, peer: Peer, params: Params) -> Any:
    raise RpcError(-32603, "get user credit info error: HTTP status 400")


def _classes(service: Service, peer: Peer, params: Params) -> Any:
    raise RpcError(-32603, f"no model config for scene: {params.get('scene') or ''}")


def _image(service: Service, peer: Peer, params: Params) -> Any:
    answer = images.upload(service, peer, params)
    return SILENCE if answer is None else answer


def _ping(service: Service, peer: Peer, params: Params) -> Any:
    return {"success": True} if service.controls.service.pings in {"all", "requests"} else SILENCE


def _exit(service: Service, peer: Peer, params: Params) -> Any:
    service.stop()
    return SILENCE


def _report(service: Service, peer: Peer, params: Params) -> Any:
    return service.report()


def constant(value: Any) -> Method:
    """A method that always answers the same."""
    return lambda service, peer, params: value


METHODS: dict[str, Method] = {
    "initialize": _initialize,
    "ping": _ping,
    "shutdown": constant(None),
    "exit": _exit,
    "auth/status": _auth_status,
    "auth/login": _login,
    "auth/logout": _logout,
    "auth/device_login": _device_login,
    "auth/refreshToken": _refresh_token,
    "auth/stop_polling": constant({}),
    "auth/profile/getUrl": _profile_url,
    "auth/profile/getGlobalConfig": constant({}),
    "login/generateUrl": _generate_url,
    "login/auth_callback": _auth_callback,
    "dataPolicy/query": constant({"agreed": True}),
    "user/plan": _plan,
    "credit/usage": _credit,
    "config/queryModels": _query_models,
    "config/getEndpoint": lambda service, peer, params: {"endpoint": service.endpoint},
    "config/updateEndpoint": _update_endpoint,
    "config/getGlobal": constant(SETTINGS),
    "feature/getFeatureFlags": constant({}),
    "model/queryClasses": _classes,
    "model/getByokConfig": constant({}),
    "image/upload": _image,
    "simulator/report": _report,
    **chat_methods.METHODS,
}

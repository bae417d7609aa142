"""Who is logged in: `auth/…` and `login/…`."""

from __future__ import annotations

from typing import Any

from bridge.simulator.methods.base import Method, Params, constant
from bridge.simulator.protocol.errors import RpcError
from bridge.simulator.protocol.peer import Peer
from bridge.simulator.state.service_state import ServiceState


def _auth_status(state: ServiceState, peer: Peer, params: Params) -> Any:
    return state.login.account.status(state.context.controls.service.auth_status)


def _generate_url(state: ServiceState, peer: Peer, params: Params) -> Any:
    return state.login.account.begin(state.http_port, state.context.controls.service.nonce_expires_sec)


def _login(state: ServiceState, peer: Peer, params: Params) -> Any:
    kind = params.get("loginType") or ""
    if kind:
        state.login.log_in(uid=str(params.get("userId") or ""), token=str(params.get("personalToken") or ""))
    url = state.login.account.begin(state.http_port, state.context.controls.service.nonce_expires_sec)["loginUrl"]
    return {"url": "" if kind else url, "success": True}


def _auth_callback(state: ServiceState, peer: Peer, params: Params) -> Any:
    attempt = state.login.account.attempt(str(params.get("nonce") or ""))
    if attempt is None:
        return {"success": False, "errorCode": "INVALID_NONCE", "errorMsg": "Invalid login nonce or consumed, ignore"}
    # A nonce works once.
    del state.login.account.attempts[attempt.nonce]
    state.login.log_in()
    return {"success": True, "errorCode": "", "errorMsg": ""}


def _device_login(state: ServiceState, peer: Peer, params: Params) -> Any:
    if not params.get("token") or not params.get("userId"):
        raise RpcError(-32602, "token or userId is empty")
    state.login.log_in(
        name=str(params.get("username") or ""), uid=str(params["userId"]), token=str(params["token"]),
        refresh_token=str(params.get("refreshToken") or ""),
    )  # fmt: skip
    return {"success": True}


def _refresh_token(state: ServiceState, peer: Peer, params: Params) -> Any:
    """Two forms are known: with six fields, and with the name of an older code."""
    old_form = "securityOauthToken" in params
    token = str(params.get("securityOauthToken") or params.get("token") or "")
    user = state.login.renew_tokens(token=token, refresh_token=str(params.get("refreshToken") or ""))
    if not old_form:
        return {"success": user is not None, "errorCode": "", "errorMsg": "" if user else "not logged in"}
    return {
        "errorCode": None if user else "NOT_LOGIN", "errorMessage": None if user else "not logged in",
        "success": user is not None, "uid": user.uid if user else "", "name": user.name if user else "",
        "tokenExpireTime": str(user.expire_time) if user else "",
    }  # fmt: skip


def _logout(state: ServiceState, peer: Peer, params: Params) -> Any:
    state.login.log_out()
    return {"success": True}


def _profile_url(state: ServiceState, peer: Peer, params: Params) -> Any:
    return {"url": f"http://127.0.0.1:{state.http_port}/profile?theme=light&state={state.context.ids.hex()}"}


METHODS: dict[str, Method] = {
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
}

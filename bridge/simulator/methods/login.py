"""Who is logged in: `auth/…` and `login/…`."""

from __future__ import annotations

from typing import Any

from bridge.simulator.methods.base import Method, Params, constant
from bridge.simulator.protocol.errors import RpcError
from bridge.simulator.protocol.peer import Peer
from bridge.simulator.state.account import User
from bridge.simulator.state.service_state import ServiceState

BROWSER = ("", "aliyun", "dedicated")
SECRETS = {"ak_sk": ("accessKey", "secretKey"), "personal_token": ("personalToken",), "name_only": ("userName",)}
"""What a login without a browser needs; the last one is the secret."""


def _auth_status(state: ServiceState, peer: Peer, params: Params) -> Any:
    return state.login.status()


def _generate_url(state: ServiceState, peer: Peer, params: Params) -> Any:
    return state.login.account.begin(state.http_port, state.context.controls.service.nonce_expires_sec)


def _login(state: ServiceState, peer: Peer, params: Params) -> Any:
    """By a browser the answer has a URL; otherwise it has none, and `auth/report` tells of the end (PROTOCOL 7.2)."""
    if params.get("loginDedicatedType") == "standards":
        state.login.endpoint = ""
    kind = str(params.get("loginType") or "")
    if kind in BROWSER:
        return {"url": _generate_url(state, peer, params)["loginUrl"], "success": True}
    given = [str(params.get(name) or "") for name in SECRETS.get(kind, ())]
    if not given or not all(given):
        return {"url": "", "success": False}
    if given[-1] not in state.context.controls.service.refused_secrets.split(","):
        name = given[-1] if kind == "name_only" else ""
        state.login.log_in(name=name, org_id=str(params.get("orgId") or ""))
    return {"url": "", "success": True}


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
        refresh_token=str(params.get("refreshToken") or ""), expire_time=_whole(params.get("expireTime")),
    )  # fmt: skip
    return {"success": True}


def _refresh_token(state: ServiceState, peer: Peer, params: Params) -> Any:
    """It stores what it is given and renews nothing (PROTOCOL 7.4)."""
    token, refresh = str(params.get("securityOauthToken") or ""), str(params.get("refreshToken") or "")
    expire_time = _whole(params.get("tokenExpireTime"))
    if not token or not refresh or expire_time <= 0:
        return _stored(None, "INVALID_PARAMS")
    user = state.login.store_tokens(token, refresh, expire_time)
    return _stored(user, None if user else "USER_NOT_LOGIN")


def _stored(user: User | None, error: str | None) -> dict[str, Any]:
    """Without an error the pair is null, as a plugin takes any other value for one (PROTOCOL 5.3)."""
    return {
        "success": user is not None, "uid": user.uid if user else "", "name": user.name if user else "",
        "tokenExpireTime": user.expire_time if user else 0, "errorCode": error, "errorMessage": error,
    }  # fmt: skip


def _whole(value: Any) -> int:
    """A time in ms, which some calls have as a string; 0 for anything else."""
    text = str(value or "")
    return int(text) if text.isdecimal() else 0


def _grants(state: ServiceState, peer: Peer, params: Params) -> Any:
    user = state.login.account.user
    who = {"userId": user.uid if user else "", "userName": user.name if user else "", "yxUid": ""}
    names = state.login.organizations()
    return [{"grantType": "personal", "orgId": "", "orgName": "", **who}] + [
        {"grantType": "organization", "orgId": name, "orgName": name, **who} for name in names
    ]


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
    "auth/syncUserInfo": _refresh_token,
    "auth/grantInfos": _grants,
    "auth/stop_polling": constant({}),
    "auth/profile/getUrl": _profile_url,
    "auth/profile/getGlobalConfig": constant({}),
    "login/generateUrl": _generate_url,
    "login/auth_callback": _auth_callback,
}

"""The calls that log somebody in, and what they answer (PROTOCOL 7.2 and 7.3)."""

from __future__ import annotations

import msgspec

from bridge.lingma.dialects.base import Call
from bridge.lingma.errors import NotReady
from bridge.logins.credentials import AccessKey, DeviceTokens, PersonalToken

LOGIN = "auth/login"
DEVICE_LOGIN = "auth/device_login"
GENERATE_URL = "login/generateUrl"


class _Url(msgspec.Struct):
    loginUrl: str | None = None  # noqa: N815  the protocol's spelling
    errorMsg: str | None = None  # noqa: N815


class _Taken(msgspec.Struct):
    success: bool | None = None


def login_url() -> Call:
    return GENERATE_URL, {"loginDedicatedType": ""}


def url_of(result: bytes) -> str:
    """Raise NotReady, or what is UNREADABLE."""
    answer = msgspec.json.decode(result, type=_Url)
    if not answer.loginUrl:
        raise NotReady(answer.errorMsg or "no login address was given")
    return answer.loginUrl


def log_in_with(credentials: AccessKey | PersonalToken | DeviceTokens) -> Call:
    match credentials:
        case AccessKey(access_key, secret_key, organisation):
            keys = {"accessKey": access_key, "secretKey": secret_key, "orgId": organisation}
            return LOGIN, {"loginType": "ak_sk", **keys}
        case PersonalToken(token, organisation):
            return LOGIN, {"loginType": "personal_token", "personalToken": token, "orgId": organisation}
        case DeviceTokens(token, refresh_token, user_id, user_name, expire_time):
            return DEVICE_LOGIN, {
                "token": token, "refreshToken": refresh_token, "expiresIn": "", "expireTime": expire_time,
                "userId": user_id, "username": user_name,
            }  # fmt: skip


def is_taken(result: bytes) -> bool:
    """Only an explicit `false` is a refusal. Whether anybody is logged in then, `auth/status` tells."""
    return msgspec.json.decode(result, type=_Taken).success is not False

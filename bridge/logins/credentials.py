"""What a login is made with, as operators give it: a few lines of text, or JSON for a device."""

from __future__ import annotations

import re

import msgspec

from bridge.status.logins import LoginKind
from gateway_project.lib.json_errors import UNREADABLE
from gateway_project.lib.texts import Text, gettext_noop


class BadCredentials(Exception):
    """The message says what is wrong, and has nothing of them."""

    def __init__(self, template: str) -> None:
        self.text = Text(template)
        super().__init__(self.text)


class AccessKey(msgspec.Struct, frozen=True):
    access_key: str
    secret_key: str
    organisation: str = ""

    def __repr__(self) -> str:
        return "<AccessKey>"


class PersonalToken(msgspec.Struct, frozen=True):
    token: str
    organisation: str = ""

    def __repr__(self) -> str:
        return "<PersonalToken>"


class Password(msgspec.Struct, frozen=True):
    username: str
    password: str

    def __repr__(self) -> str:
        return "<Password>"


class DeviceTokens(msgspec.Struct, frozen=True):
    """Of somebody who is logged in elsewhere. Times are texts, as the service has them."""

    token: str
    refresh_token: str
    user_id: str
    user_name: str = ""
    expire_time: str = ""

    def __repr__(self) -> str:
        return "<DeviceTokens>"


Credentials = AccessKey | PersonalToken | Password


class _Device(msgspec.Struct):
    """The params of the service's own method, or what `auth/status` says of somebody who is logged in."""

    token: str = ""
    refreshToken: str = ""  # noqa: N815  the protocol's spelling
    expireTime: int | str = ""  # noqa: N815
    userId: str = ""  # noqa: N815
    username: str = ""
    id: str = ""
    name: str = ""


def read(kind: LoginKind, given: bytes) -> Credentials:
    """Of a login of that kind. Raise BadCredentials."""
    match kind, _lines(kind, given):
        case (LoginKind.AK_SK, [access_key, secret_key]):
            return AccessKey(access_key, secret_key)
        case (LoginKind.AK_SK, [access_key, secret_key, organisation]):
            return AccessKey(access_key, secret_key, organisation)
        case (LoginKind.PERSONAL_TOKEN, [token]):
            return PersonalToken(token)
        case (LoginKind.PERSONAL_TOKEN, [token, organisation]):
            return PersonalToken(token, organisation)
        case (LoginKind.AUTOMATIC, [username, password]):
            return Password(username, password)
        case (LoginKind.AK_SK, _):
            raise BadCredentials(gettext_noop("An access key is two lines, or three: key, secret, organisation."))
        case (LoginKind.PERSONAL_TOKEN, _):
            raise BadCredentials(gettext_noop("A personal token is one line; a second may name the organisation."))
        case (LoginKind.AUTOMATIC, _):
            raise BadCredentials(gettext_noop("A log-in by itself needs two lines: user name, password."))
        case _:
            raise BadCredentials(gettext_noop("A login of this kind has no credentials."))


def read_device(given: bytes) -> DeviceTokens:
    """JSON with token, refreshToken, expireTime, userId and username. Raise BadCredentials."""
    try:
        found = msgspec.json.decode(given, type=_Device)
    except UNREADABLE:
        words = gettext_noop("This is no JSON with token, refreshToken, expireTime, userId and username.")
        raise BadCredentials(words) from None
    user_id = found.userId or found.id
    if not found.token or not found.refreshToken or not user_id:
        raise BadCredentials(gettext_noop("token, refreshToken or userId is missing."))
    name = found.username or found.name
    return DeviceTokens(found.token, found.refreshToken, user_id, name, str(found.expireTime))


def without_secrets(text: str, kind: LoginKind, given: bytes) -> str:
    """What a service says, without the secrets that it was given: some repeat what they refuse."""
    try:
        found = read_device(given) if kind is LoginKind.DEVICE else read(kind, given)
    except BadCredentials:
        return text
    for secret in sorted(_secrets_of(found), key=len, reverse=True):  # one may be a part of another
        text = text.replace(secret, "…")
    return text


def _secrets_of(found: Credentials | DeviceTokens) -> list[str]:
    match found:
        case AccessKey():
            return [found.secret_key]
        case PersonalToken():
            return [found.token]
        case Password():
            return [found.password, found.password.strip()]
        case DeviceTokens():
            return [found.token, found.refresh_token]


def _lines(kind: LoginKind, given: bytes) -> list[str]:
    try:
        text = given.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadCredentials(gettext_noop("They are no text.")) from None
    lines = [line for line in re.split(r"[\r\n]", text) if line.strip()]
    if kind is LoginKind.AUTOMATIC:
        # A password may begin or end with a blank, and hold what else counts as the end of a line.
        return [line.strip() for line in lines[:1]] + lines[1:]
    return [line.strip() for line in lines]

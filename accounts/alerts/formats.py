"""What each kind of channel is sent, and how its answer reads. Pure: times are arguments.

DingTalk, Feishu and WeCom answer 200 to nearly everything, with a code in the body; each signs in its own way.
"""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

MOST_BYTES: Final[Mapping[str, int]] = {"dingtalk": 18_000, "feishu": 16_000, "wecom": 2_048}
"""Of a text: DingTalk and Feishu bound the body at 20 kB, WeCom the text itself."""
JSON: Final = {"Content-Type": "application/json; charset=utf-8"}


class Message(NamedTuple):
    """Several alerts as one message; `alerts` has them for programs."""

    title: str
    lines: list[str]
    alerts: list[dict[str, Any]]

    @property
    def text(self) -> str:
        return "\n".join([self.title, *self.lines])


class Call(NamedTuple):
    """A POST."""

    url: str
    body: bytes
    headers: dict[str, str]


def call_for(kind: str, url: str, secret: str, message: Message, now: float) -> Call:
    """`now` is in Unix seconds; `secret` may be "", which signs nothing."""
    return FORMATS[kind](url, secret, message, now)


def _webhook(url: str, secret: str, message: Message, now: float) -> Call:
    stamp = str(int(now))
    body = _json({"type": "alerts", "sent_at": int(now), "title": message.title, "alerts": message.alerts})
    headers = {**JSON, "X-Lingma-Gateway-Timestamp": stamp}
    if secret:
        # The time is signed too, so that nobody can send an old message again unnoticed.
        signature = hmac.new(secret.encode(), stamp.encode() + b"." + body, "sha256").hexdigest()
        headers["X-Lingma-Gateway-Signature"] = f"sha256={signature}"
    return Call(url, body, headers)


def _dingtalk(url: str, secret: str, message: Message, now: float) -> Call:
    """Signed in the address, with milliseconds."""
    body = _json({"msgtype": "text", "text": {"content": cut(message.text, MOST_BYTES["dingtalk"])}})
    if secret:
        stamp = str(int(now * 1000))
        sign = _base64(hmac.digest(secret.encode(), f"{stamp}\n{secret}".encode(), "sha256"))
        url += ("&" if "?" in url else "?") + urlencode({"timestamp": stamp, "sign": sign})
    return Call(url, body, dict(JSON))


def _feishu(url: str, secret: str, message: Message, now: float) -> Call:
    """Signed in the body, with seconds; what is signed is the key of an empty message."""
    content = {"msg_type": "text", "content": {"text": cut(message.text, MOST_BYTES["feishu"])}}
    if secret:
        stamp = str(int(now))
        sign = _base64(hmac.digest(f"{stamp}\n{secret}".encode(), b"", "sha256"))
        content = {"timestamp": stamp, "sign": sign, **content}
    return Call(url, _json(content), dict(JSON))


def _wecom(url: str, secret: str, message: Message, now: float) -> Call:
    """Nothing is signed: the key is in the address."""
    body = _json({"msgtype": "text", "text": {"content": cut(message.text, MOST_BYTES["wecom"])}})
    return Call(url, body, dict(JSON))


FORMATS: Final[Mapping[str, Callable[[str, str, Message, float], Call]]] = {
    "webhook": _webhook,
    "dingtalk": _dingtalk,
    "feishu": _feishu,
    "wecom": _wecom,
}
CODES: Final[Mapping[str, tuple[str, str]]] = {
    "dingtalk": ("errcode", "errmsg"),
    "feishu": ("code", "msg"),
    "wecom": ("errcode", "errmsg"),
}
"""Where an answer has its code, 0 for success, and what it says."""


def failure(kind: str, status: int, body: bytes) -> str:
    """Why the message was not taken; "" when it was."""
    if not 200 <= status < 300:
        return f"status {status}"
    if kind not in CODES:
        return ""
    code, text = CODES[kind]
    try:
        answer = json.loads(body)
        return "" if answer[code] == 0 else f"{code} {answer[code]}: {answer.get(text, '')}"
    except (ValueError, LookupError, TypeError, AttributeError):
        return "an answer that is none of its kind"


def cut(text: str, most: int) -> str:
    """At most so many bytes of UTF-8, no character of them cut through."""
    data = text.encode()
    # Three bytes of the ellipsis; where the cut goes through a character, all of it goes.
    return text if len(data) <= most else data[: most - 3].decode(errors="ignore") + "…"


def _json(content: object) -> bytes:
    return json.dumps(content, ensure_ascii=False).encode()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()

"""Removes secrets from log lines and rows: by their form, or by the name that stands before them."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final

BEFORE: Final = r"(?:(?<![A-Za-z0-9])|(?<=\\[nrtbf])|(?<=\\u[0-9A-Fa-f]{4})|(?<=%[0-9A-Fa-f]{2}))"
"""Where a word begins: also behind an escape of JSON or of an address, which ends in a letter or a digit."""

# A key of ours keeps as much of its beginning as its hint shows; the hint alone is left as it is.
KEY: Final = re.compile(r"lgw_(?![A-Za-z0-9]{8}(?![\w-]))([A-Za-z0-9]{8}(?=_)|)[\w-]{8,}")

# Names end so; what stands before it, as in `Cosy-MachineToken` or `securityOauthToken`, does not matter.
NAMES: Final = (
    r"api[_-]?key|(?:access|secret|private)[_-]?key|secret|token(?:string)?|passw(?:or)?d|passphrase|sessionid"
)
# `name: value`, `name=value`, `"name": "value"`, `(b'name', b'value')`, also inside a quoted JSON
BETWEEN: Final = r"(?:\\*[\"'])?(?:[ \t]*[:=]|(?<=[\"'])[ \t]*,)[ \t]*b?(?:\\*[\"'])?"
VALUE: Final = r"[^\s\"',;}…&\\]"
SCHEME: Final = r"(?:(?:bearer|basic|digest|token|apikey)[ \t]+)?+"

SECRETS: Final = (
    re.compile(r"(?i)(bearer[ \t]+)(?!lgw_)[\w.~+/=-]{8,}"),
    re.compile(rf"(?i)(authorization{BETWEEN}{SCHEME})(?!lgw_){VALUE}{{6,}}"),
    re.compile(rf"{BEFORE}((?:sk|pt|rt)-)[\w-]{{12,}}"),
    re.compile(r"(://[^\s:/@]*:)[^\s/]+(?=@)"),
    re.compile(r"(://)[^\s:/@]{20,}(?=@)"),
    re.compile(rf"(?i)((?:set-)?cookie{BETWEEN})[^\r\n\"'…]+"),
    re.compile(rf"(?i)([?&](?:\w{{0,32}}key|auth|code|sig|signature|state)=)(?!lgw_){VALUE}+"),
    re.compile(rf"(?i)((?:{NAMES}){BETWEEN})(?!lgw_){VALUE}{{6,}}"),
    re.compile(rf"(?i)((?<![\w-])key=)(?!lgw_|lgw:){VALUE}{{12,}}"),
)
# Its first part is taken also where the rest is missing, so that no text is searched again from each `eyJ` in it.
JWT: Final = re.compile(BEFORE + r"(eyJ)[\w-]{8,}+(\.[\w.-]{8,})?+")
BASIC: Final = re.compile(r"(?i)(basic[ \t]+)([a-z0-9+/_-]{6,}={0,2})")

# One of these is in every secret, and in few other texts.
SUSPECT: Final = (
    "lgw_", "bearer", "basic", "sk-", "pt-", "rt-", "eyj", "://", "key", "token", "secret", "passw", "passphrase",
    "cookie", "sessionid", "authorization", "auth=", "code=", "sig", "state=",
)  # fmt: skip


def redacted(text: str) -> str:
    """The text without keys, tokens, cookies and passwords."""
    if text.isidentifier() and "lgw_" not in text:  # as most fields are; every other form has a sign in it
        return text
    # A cheap test first: most texts hold none of these words, and the patterns below cost far more.
    lowered = text.lower()
    if not any(map(lowered.__contains__, SUSPECT)):
        return text
    # First: a key keeps its hint, and the patterns below leave what begins with `lgw_` alone.
    text = KEY.sub(r"lgw_\1…", text)
    for pattern in SECRETS:
        text = pattern.sub(r"\1…", text)
    text = JWT.sub(lambda found: f"{found[1]}…" if found[2] else found[0], text)
    return BASIC.sub(_without_login, text)


def _without_login(found: re.Match[str]) -> str:
    """`Basic` is an ordinary word, unless a user and a password follow."""
    word = found[2].rstrip("=").replace("-", "+").replace("_", "/")
    try:
        is_login = b":" in base64.b64decode(word + "=" * (-len(word) % 4))
    except binascii.Error:
        is_login = False
    return f"{found[1]}…" if is_login else found[0]

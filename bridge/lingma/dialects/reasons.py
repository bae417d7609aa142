"""The meaning of a failure by its text, whatever its code: services pass on the text of the vendor of a model."""

from __future__ import annotations

import re
from math import ceil
from typing import Final

from bridge.chat.errors import (
    ContentFiltered,
    ContextFull,
    Forbidden,
    GatewayError,
    NoPlan,
    RateLimited,
    UpstreamFailed,
)

READ_CHARS: Final = 4000
"""Characters of a reason that are searched: what matters stands near its beginning."""

MOST_WAIT: Final = 3600
"""Seconds: the longest wait that is passed on to a client."""

LEAST_WAIT: Final = 0.001

MOST_DIGITS: Final = 15

LEAST_CONTEXT: Final = 2048
"""Tokens. A smaller number is no size of a context, but a vendor's error code."""

_SUBJECT = r"(?:inputs?|prompts?|messages?|requests?|conversation|tokens?)\b[^.;\n]{0,60}?"
_MORE_THAN = r"\b(?:exceed\w*|longer than|greater than|larger than)\b[^.;\n]{0,60}?"
_MEASURE = r"(?:\btokens?\b|context|max(?:imum)?[ _](?:\w+ ){0,2}len|length limit|model limit|available length)"
_CONTEXT = r"context[ _-]?(?:window|length|size|limit)?"
_FULL = re.compile(
    "|".join(
        (
            r"(?:prompt|input)(?: text| length| tokens?| token length)? (?:is |are )?too (?:long|large)",
            _SUBJECT + _MORE_THAN + _MEASURE,
            r"\btokens?\b[^.;\n]{0,40}?exceed\w*[^.;\n]{0,20}?\blimit",
            r"(?:exceed\w*|out of|beyond|greater than|longer than) [^.;\n]{0,60}?" + _CONTEXT + r"\b",
            _CONTEXT + r"[ _-]?(?:(?:is|was|has been) )?(?:exceed\w*|overflow\w*|full\b|too long)",
            r"max(?:imum)?[ _](?:context|prompt|input|sequence|model)[ _]len",
            r"too large for model with \d|too long to fit",
            r"reduce (?:the length of )?(?:the |your )?(?:input )?(?:messages|prompt|input)\b",
            r"inputs?\W{0,2} (?:must have less than \d+ |\+ |tokens \+ )",
            r"range of input length",
            r"too many (?:input |prompt |total )?tokens|token limit (?:is |was |has been )?exceeded",
            r"max(?:imum)? input characters|(?:tokens|characters|prompt|input)[_ ]too[_ ]long|out ?of ?context",
            r"(?:request entity|request body|payload)[ _]too[ _]large",
            r"(?:上下文|输入|提示词|对话|消息|会话|请求|文本)[^。;；\n]{0,20}?(?:过长|太长|超长|超限|已满)",
            r"(?:上下文|输入|提示词|对话|消息|会话|请求|文本|token)[^。;；\n]{0,30}?(?:超过|超出|大于|达到)[^。;；\n]{0,20}?"
            r"(?:上下文|长度|窗口|token|最大)",
            r"(?:超过|超出|大于)[^。;；\n]{0,20}?(?:上下文|长度限制|最大长度|窗口)",
        )
    ),
    re.IGNORECASE,
)
_RATE = re.compile(
    r"per (?:minute|second|hour|day)|rate.?limit|too many requests|throttl|\b[rt]p[mds]\b|\bquota\b|please wait"
    r"|频率|限流|次数|每分钟|每日|配额|额度",
    re.IGNORECASE,
)

_USED_UP = re.compile(
    r"insufficient[_ ](?:quota|balance|credits?|funds)|exceeded your current quota|credit balance is too low"
    r"|free (?:allocated )?quota (?:is |was |has been )?(?:exceeded|exhausted|used up)|quota (?:is |has been )?used up"
    r"|free (?:tier|quota)\b[^.;\n]{0,40}? exhausted|billing hard limit|\barrearage\b|overdue[- ]payment"
    r"|(?:额度|配额|余额|资源包)[^。;；，,\n]{0,6}?(?:用完|用尽|耗尽|不足)|欠费",
    re.IGNORECASE,
)
_PASSING = re.compile(r"per (?:minute|second|hour)|rate.?limit|每分钟|每秒|频率|限流", re.IGNORECASE)
_FILTERED = re.compile(
    r"data_?inspection_?failed|inappropriate content|content[_ ]filter|content management policy|responsibleai"
    r"|(?:内容|输入|输出)[^。;；\n]{0,12}?(?:违规|敏感|不当|不合规|不合法|不安全)|(?:违规|敏感|不当|不良)(?:内容|信息|词)"
    r"|(?:内容|安全)(?:审核|检查|检测)[^。;；\n]{0,6}?(?:未通过|不通过|失败)",
    re.IGNORECASE,
)
USED_UP: Final = "The quota of the Lingma account is used up."
FILTERED: Final = "The Lingma service filtered the content."

_NUMBER = r"(\d[\d,]*)"
_SUM = re.compile(rf"{_NUMBER} \+ {_NUMBER} > {_NUMBER}")
_MOST = re.compile(
    r"(?:> |\[\d+, ?|(?:max\w*|limit|window|context length|context size|at most|cannot exceed|上限|最大|长度限制)"
    rf"[^\d\n]{{0,40}}?)(?<!by ){_NUMBER}"
    rf"|{_NUMBER}(?: tokens?)? (?:maximum|limit)",
    re.IGNORECASE,
)
_AMOUNT = rf"\d{{1,{MOST_DIGITS}}}(?:\.\d{{1,9}})?"
_UNIT = r"(?:ms|milli\w*|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?|weeks?|months?)(?![a-z])"
_UNIT_OF_CHINESE = "个?(?:毫秒|秒|分|小时|天|星期|周|月)钟?"
# Many say it in parts: "7m12s", "1 hour and 30 minutes", "1天2小时".
_WAIT = re.compile(
    rf"(?:retry[ _-]?after|try again in|retry in|wait)\w*\W{{0,4}}"
    rf"({_AMOUNT}(?: ?{_UNIT}(?:,? ?(?:and )?{_AMOUNT} ?{_UNIT}){{0,4}})?)"
    rf"|((?:{_AMOUNT} ?{_UNIT_OF_CHINESE} ?){{1,4}})(?:之|以)?后",
    re.IGNORECASE,
)
_WAIT_OF_QUEUE = re.compile(r"retryAfterSeconds\W{1,4}(\d+)()")
_PART = re.compile(rf"({_AMOUNT}) ?({_UNIT}|{_UNIT_OF_CHINESE})?", re.IGNORECASE)
_SECONDS = (
    (re.compile(r"ms|milli|毫秒"), 0.001), (re.compile(r"mo|个?月"), 30 * 86400), (re.compile(r"m|分"), 60),
    (re.compile(r"h|个?小时"), 3600), (re.compile(r"d|天"), 86400), (re.compile(r"w|个?星期|周"), 7 * 86400),
)  # fmt: skip
"""What a unit begins with; any other is taken for seconds."""
LONG_WAIT: Final = 86400
"""Seconds: who is to wait so long has no quota left, whatever comes back then."""
_WRAPPED = re.compile(r"\b(10010|10011|10605)\b|code\W{1,4}(110|112)\b", re.IGNORECASE)
_QUEUED = re.compile(r"isQueued\W{1,4}true\b", re.IGNORECASE)
QUEUE: Final = 10605


def context_full(reason: str) -> ContextFull | None:
    """The error, if the words say that the prompt is longer than the model's context."""
    text = reason[:READ_CHARS]
    # "Too many tokens per minute" is a rate, and passes by itself.
    if not _FULL.search(text) or _RATE.search(text):
        return None
    return ContextFull(*_sizes(text))


def lasting(reason: str) -> GatewayError | None:
    """The error, if the words say that the same request would fail again: too long, filtered, or no quota left.

    A quota that comes back by itself, within a minute or at a time that is named and near, is none of these.
    """
    text = reason[:READ_CHARS]
    # First: what a client can act on (a shorter prompt) goes before what it cannot.
    if (full := context_full(text)) is not None:
        return full
    if _FILTERED.search(text):
        return ContentFiltered(f"{FILTERED} It said: {text[:200]}")
    if _USED_UP.search(text) and not _PASSING.search(text) and not 0 < _seconds(text) < LONG_WAIT:
        return NoPlan(f"{USED_UP} It said: {text[:200]}", of_login=False)
    return None


def read(reason: str, otherwise: GatewayError) -> GatewayError:
    """The error that the words mean; where they say no more than the code, `otherwise`, which the code alone means."""
    # The text goes before the code: services pass on that of the vendor of the model, under codes of their own.
    error = lasting(reason)
    if error is not None:
        if isinstance(error, NoPlan):
            # A code about the account bears the words out. Of others, a refused request may be quoted in them.
            error.of_login = isinstance(otherwise, (Forbidden, RateLimited))
        return error
    if isinstance(otherwise, RateLimited):
        otherwise.retry_after = wait(reason)
    return otherwise


def failure(text: str, reason: str) -> GatewayError:
    """A failure that has no code: what its reason says, else that the service failed the turn."""
    return read(reason, UpstreamFailed(f"{text}: {reason[:200]}"))


def wait(reason: str) -> int | None:
    """The seconds after which the service takes a request again, by its own words; at most MOST_WAIT."""
    seconds = _seconds(reason[:READ_CHARS])
    return max(1, ceil(min(MOST_WAIT, seconds))) if seconds else None  # sooner would be refused again


def wrapped_code(reason: str) -> int | None:
    """The code that another one wraps: what 403 and 418 stand for is in their words (PROTOCOL 9.6)."""
    text = reason[:READ_CHARS]
    if found := _WRAPPED.search(text):
        return int(found[1] or found[2])
    return QUEUE if _QUEUED.search(text) else None


def _seconds(text: str) -> float:
    """Until the service takes a request again; 0: it does not say."""
    # Of a queue it says both how long it takes in all and when to come again (PROTOCOL 9.6).
    found = _WAIT_OF_QUEUE.search(text) or _WAIT.search(text)
    if found is None:
        return 0
    parts = _PART.findall(found[1] or found[2])
    # The words come from outside, and a number in them may have any length.
    return max(LEAST_WAIT, sum(float(amount[:MOST_DIGITS]) * _factor(unit.lower()) for amount, unit in parts))


def _factor(unit: str) -> float:
    return next((seconds for known, seconds in _SECONDS if known.match(unit)), 1)


def _sizes(text: str) -> tuple[int, int]:
    """How many tokens were asked for, and how many are allowed at most; 0 for what is not in the text."""
    if added := _SUM.search(text):
        return _int(added[1]) + _int(added[2]), _int(added[3])
    found = _MOST.search(text)
    most = _int(found[1] or found[2]) if found else 0
    most = most if most >= LEAST_CONTEXT else 0
    requested = max(map(_int, re.findall(_NUMBER, text)), default=0)
    return (requested if most and requested > most else 0), most


def _int(digits: str) -> int:
    return int(digits.replace(",", "")[:12] or 0)

"""What agents change in a conversation from one request to the next, taken out of its texts. Pure."""

from __future__ import annotations

import re
from functools import lru_cache

_OPEN, _CLOSE = "<system-reminder>", "</system-reminder>"
_BILLING = "x-anthropic-billing-header:"

_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]{0,6}\.?"
_DAY = r"\d{1,2}(?:st|nd|rd|th)?"
_DATES = (
    re.compile(r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{4}"),
    re.compile(rf"\b{_MONTH} {_DAY},? {{1,2}}\d{{4}}|{_DAY} {_MONTH},? \d{{4}}|\b{_MONTH},? \d{{4}}"),
    re.compile(r"\d{4}年\d{1,2}月(?:\d{1,2}日)?"),
)
_WEEKDAY = re.compile(
    r"\b(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day\b,? ?"
    r"|\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),? (?=@)|星期[一二三四五六日天]"
)
_TIME = re.compile(
    r"(?<![\d.:])[T ]?\d{1,2}:\d{2}(?!\d)(?::\d{2}(?:[.,]\d{1,9})?)? ?(?:[AaPp]\.?[Mm]\b\.?)?"
    r" ?(?:Z\b|(?:UTC|GMT)?[+-]\d{2}:?\d{2}\b|(?:UTC|GMT|[A-Z]{2,4}T)\b)?(?: ?\([A-Z][A-Za-z ]{2,40}\))?"
)
_LONGEST_KEPT = 200_000  # characters of a system text that is kept with what was made of it


def spoken(text: str) -> str:
    """A user's or a tool's text without reminders, blank lines and the white space around it."""
    if "\r" in text:
        text = text.replace("\r\n", "\n")
    if _OPEN in text:
        text = _without_reminders(text)
    while "\n\n" in text:
        text = text.replace("\n\n", "\n")
    return text.strip()


def _without_reminders(text: str) -> str:
    # By hand and not by a pattern: many openings without an end would make a pattern quadratic.
    kept, start = [], 0
    while (begin := text.find(_OPEN, start)) >= 0 and (end := text.find(_CLOSE, begin)) >= 0:
        kept.append(text[start:begin].rstrip())
        start = end + len(_CLOSE)
    rest = text[start:]
    return "\n".join([*kept, rest.lstrip() if kept else rest])


def lasting(text: str) -> str:
    """A system text without what differs from request to request and from day to day."""
    return _kept(text) if len(text) <= _LONGEST_KEPT else _lasting(text)


@lru_cache(maxsize=64)
def _kept(text: str) -> str:
    return _lasting(text)


def _lasting(text: str) -> str:
    if _OPEN in text:
        text = _without_reminders(text)
    if _BILLING in text:
        text = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith(_BILLING))
    for date in _DATES:
        text = date.sub("@", text)
    if ":" in text:
        text = _TIME.sub("@", text)
    if "@" in text:
        text = _WEEKDAY.sub("", text)
    return text

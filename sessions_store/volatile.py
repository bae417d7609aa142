"""What agents change in a conversation from one request to the next, taken out of its texts. Pure."""

from __future__ import annotations

import re
from functools import lru_cache

_OPEN, _CLOSE = "<system-reminder>", "</system-reminder>"
_BILLING = "x-anthropic-billing-header:"

# Each pattern begins with a class of characters, which lets `re` skip to the next candidate; what stands before the
# first character is looked at behind it.
_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]{0,6}\.?"
_DATE = re.compile(
    r"\d(?:\d{3}[-/.]\d\d?[-/.]\d\d?|\d?[-/.]\d\d?[-/.]\d{4}|\d{3}年\d\d?月(?:\d\d?日)?"
    rf"|\d?(?:st|nd|rd|th)? {_MONTH},? \d{{4}})"
)
_DATE_BY_MONTH = re.compile(
    r"[JFMASOND](?<!\w.)(?:an|eb|ar|pr|ay|un|ul|ug|ep|ct|ov|ec)[a-z]{0,6}\.?"
    r"(?: \d\d?(?:st|nd|rd|th)?(?!\d)(?:,? {1,2}\d{4})?|,? \d{4})(?!\d)"
)
_TIME = re.compile(
    r"\d(?<![\d.:]\d)\d?:\d\d(?!\d)(?::\d\d(?:[.,]\d{1,9})?)? ?(?:[AaPp]\.?[Mm]\b\.?)?"
    r" ?(?:Z\b|(?:UTC|GMT)?[+-]\d\d:?\d\d\b|(?:UTC|GMT|[A-Z]{2,4}T)\b)?(?: ?\([A-Z][A-Za-z ]{2,40}\))?"
)
_WEEKDAY = re.compile(r"[MTWFS](?<!\w.)(?:(?:on|ues|ednes|hurs|ri|atur|un)day\b,? ?|(?:on|ue|ed|hu|ri|at|un),? (?=@))")
_WEEKDAY_ZH = re.compile("星期[一二三四五六日天]")
_EXAMINED = 100_000  # characters of a system text; what follows counts as it is


def spoken(text: str) -> str:
    """A user's or a tool's text without reminders and the white space around it."""
    if "\r" in text:
        text = text.replace("\r\n", "\n")
    if _OPEN in text:
        text = _without_reminders(text)
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
    return _lasting(text[:_EXAMINED]) + text[_EXAMINED:]


@lru_cache(maxsize=32)  # agents send the same text each time
def _lasting(text: str) -> str:
    if _OPEN in text:
        text = _without_reminders(text)
    if _BILLING in text:
        text = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith(_BILLING))
    text = _DATE_BY_MONTH.sub("@", _DATE.sub("@", text))
    if ":" in text:
        text = _TIME.sub("@", text)
    text = _WEEKDAY.sub("", text)
    return _WEEKDAY_ZH.sub("", text) if "星期" in text else text

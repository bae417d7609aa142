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

# Words of a line with the present date or time, and not any date.
_TODAY = re.compile(
    r"\btoday(?:['’]s)? ?(?:date\b|day\b|is\b|:|=|\()"  # the apostrophe of word processors
    r"|\b(?:current|present|local)[ _-]?(?:local[ _-]?)?(?:date|time|day)|\bit is (?:now|currently)\b"
    r"|\bheute|\b(?:aktuelles? (?:datum|zeit)|aktuelle uhrzeit)|\baujourd['’]hui|\bdate (?:du jour|actuelle)"
    r"|\bhoy es\b|\b(?:fecha|hora) actual|\bhoje é\b|\b(?:data|hora) atual|\boggi\b|\bdata (?:odierna|corrente)"
    "|сегодня|текущ(?:ая дата|ее время)|今天|今日|当前(?:日期|时间)|现在时间|現在(?:の|時刻|日時)|오늘|현재",
    re.IGNORECASE,
)
_SHORTEST, _LONGEST = 8, 400  # characters of a line with the present date
_MOST_LINES = 2000
_EXAMINED = 100_000  # characters of a system text; what follows counts as it is

Normalized = tuple[str, tuple[str, ...]]
"""The part of a text that stays the same, and the pieces that may differ in the next request."""


def strip_reminders(text: str) -> Normalized:
    """A user's or a tool's text without reminders and the white space around them; the reminders."""
    if "\r" in text:
        text = text.replace("\r\n", "\n")
    if _OPEN not in text:
        return text, ()
    stable, reminders = _without_reminders(text)
    return stable.strip(), tuple(reminders)


def _without_reminders(text: str) -> tuple[str, list[str]]:
    # By hand and not by a pattern: many openings without an end would make a pattern quadratic.
    stable, reminders, start = [], [], 0
    while (begin := text.find(_OPEN, start)) >= 0 and (end := text.find(_CLOSE, begin)) >= 0:
        stable.append(text[start:begin].rstrip())
        start = end + len(_CLOSE)
        reminders.append(text[begin:start])
    rest = text[start:]
    return "\n".join([*stable, rest.lstrip() if stable else rest]), reminders


def stable_system_text(text: str) -> Normalized:
    """A system text without reminders, billing headers and the present date; the reminders and the lines with it."""
    stable, changing = _stable(text[:_EXAMINED])
    return (stable + text[_EXAMINED:], changing) if len(text) > _EXAMINED else (stable, changing)


@lru_cache(maxsize=32)  # agents send the same text each time
def _stable(text: str) -> Normalized:
    changing: list[str] = []
    if _OPEN in text:
        text, changing = _without_reminders(text)
    if _BILLING in text:
        text = "\n".join(line for line in text.split("\n") if not line.lstrip().startswith(_BILLING))
    lines = text.split("\n")
    for index, line in enumerate(lines[:_MOST_LINES]):
        if _SHORTEST <= len(line) <= _LONGEST and _TODAY.search(line) and (undated := _undated(line)) != line:
            lines[index] = undated
            changing.append(line.strip())
    return "\n".join(lines), tuple(changing)


def _undated(line: str) -> str:
    line = _DATE_BY_MONTH.sub("@", _DATE.sub("@", line))
    line = _WEEKDAY.sub("", _TIME.sub("@", line))
    return _WEEKDAY_ZH.sub("", line)

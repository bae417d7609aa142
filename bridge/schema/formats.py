"""Formats of strings that schemas name: those that are checked, and only for what nobody would accept."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address

# Months are not compared with their days: 2024-02-31 passes, because a format is only refused where nobody would accept
# it.
_DATE = r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])"
# A leap second (60) is valid, the offset may be missing, and the colon in it may be missing: models write all three.
_TIME = r"(?:[01]\d|2[0-3]):[0-5]\d(?::(?:[0-5]\d|60)(?:[.,]\d+)?)?(?:[Zz]|[+-]\d\d:?\d\d)?"
# 63 characters is the limit of one DNS label.
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_SPANS = r"(?:\d+(?:[.,]\d+)?[YMWD])*(?:T(?:\d+(?:[.,]\d+)?[HMS])+)?"
_PATTERNS = {
    name: re.compile(pattern, re.ASCII)
    # re.ASCII: \d must not accept Arabic or full-width digits, which no parser of dates takes.
    for name, pattern in {
        "date": _DATE,
        "time": _TIME,
        "date-time": rf"{_DATE}[Tt ]{_TIME}",
        # The lookahead refuses a bare "P", which would match because every part of _SPANS is optional.
        "duration": rf"[-+]?P(?!\Z){_SPANS}",
        "email": r"[^@\s]+@[^@\s]+",
        "hostname": rf"{_LABEL}(?:\.{_LABEL})*\.?",
        "uri": r"[A-Za-z][A-Za-z0-9+.-]*:\S+",
        "uuid": r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}",
    }.items()
}
_ADDRESSES = {"ipv4": IPv4Address, "ipv6": IPv6Address}
# The patterns are linear, but a model may write megabytes into a string that its schema calls a date.
_LONGEST = 2000

CHECKED = frozenset((*_PATTERNS, *_ADDRESSES))


def follows(name: str, text: str) -> bool:
    """Whether the text is of that format; True for a format that is not checked, and for a text that is too long."""
    if len(text) > _LONGEST:
        return True
    if pattern := _PATTERNS.get(name):
        return pattern.fullmatch(text) is not None
    if address := _ADDRESSES.get(name):
        try:
            address(text)
        except ValueError:
            return False
    return True

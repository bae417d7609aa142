"""Cells of CSV files that people open with a spreadsheet."""

from __future__ import annotations

import re
from typing import Any, Final

FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""A spreadsheet takes a cell that begins so for a formula; one for Chinese or Japanese the wide signs as well."""
INNER: Final = re.compile(r"""([;|\t\r\n]["\s]*)(?=[=+\-@\uff1d\uff0b\uff0d\uff20])""")
"""Where another cell begins for a spreadsheet that takes other signs than commas to part them, as many do in Europe."""


def defused(value: Any) -> Any:
    """The value, unless a spreadsheet would run it, or what it takes for the next cell; a boolean as in JSON."""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str):
        return value
    text = INNER.sub(r"\1'", value)
    return f"'{text}" if text.startswith(FORMULA) else text

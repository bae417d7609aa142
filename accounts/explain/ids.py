"""The ids under which people know a request, and the one under which its row is stored."""

from __future__ import annotations

import re
from typing import Final

LONGEST: Final = 128
_ID: Final = re.compile(r"(?:[a-z]{1,12}[_-])?([0-9a-f]{32})(?:i[0-9a-f]{1,8})?", re.IGNORECASE)
"""`req_`, `chatcmpl-`, `msg_`, `resp_`, or none: the same 32 digits. Items of a response have their number behind."""
AROUND: Final = "\"'`,.;:!?()[]{}<>“”‘’「」，。；：！？（）、"
"""Signs of sentences, which none of ours begins or ends with."""


def request_id_of(text: str) -> str:
    """The request id of a row; "" for what cannot be one. Others than ours are taken as they are."""
    # As copied out of JSON, a log or a sentence.
    text = text.strip().strip("\"'`,")
    if found := _ID.fullmatch(text.strip(AROUND)):
        return f"req_{found[1].lower()}"
    # Ids stand in addresses, as one part of a path.
    return text if 0 < len(text) <= LONGEST and text.isprintable() and not {" ", "/"} & set(text) else ""

"""Bodies of requests: JSON, and no deeper than any of ours."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import IO, Any, Final

from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser

DEEPEST: Final = 16


class ShallowJSONParser(JSONParser):
    """What reads the body afterwards calls itself for each level of it: a deep one would be a failure of ours."""

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        """Raise ParseError."""
        try:
            parsed = super().parse(stream, media_type, parser_context)
        except RecursionError:
            raise ParseError from None
        if _is_deep(parsed) or not _is_text(parsed):
            raise ParseError
        return parsed


def _is_text(parsed: Any) -> bool:
    """Half a character, which JSON can escape, can be kept nowhere, and not even told back in an error."""
    try:
        json.dumps(parsed, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_deep(parsed: Any) -> bool:
    level = [parsed]
    for _ in range(DEEPEST):
        level = [inner for each in level for inner in _inside(each)]
    return bool(level)


def _inside(each: Any) -> Any:
    return each.values() if isinstance(each, dict) else each if isinstance(each, list) else ()

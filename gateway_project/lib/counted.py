"""Numbers with their nouns in lines of commands and logs, which are English; pages have `ngettext`."""

from __future__ import annotations


def counted(count: int, one: str, many: str = "") -> str:
    """`1 row`, `1,234 rows`; `many` where the plural does not end in an s."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"

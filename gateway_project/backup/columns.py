"""How values stand in a backup: the same for SQLite and PostgreSQL, so that one can be restored into the other."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

Convert = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of column. `read` is SQL around the column; without a conversion a value stays as it is."""

    read: dict[str, str]
    out: Convert | None
    """From what was read to what stands in the backup."""
    into: dict[str, Convert]
    """From there to what the database takes."""


def _seconds(text: str) -> str:
    # As SQLite has it, where texts are compared.
    return text.removesuffix(".000000")


def _base64(data: Any) -> str:
    return base64.b64encode(data).decode()


def _without_nul(text: str) -> str:
    # SQLite keeps a NUL in a text, PostgreSQL takes none.
    return text.replace("\0", "") if "\0" in text else text


PLAIN: Final = Kind({}, None, {})
TEXT: Final = Kind({}, None, {"postgresql": _without_nul})
BOOLEAN: Final = Kind({"sqlite": "+{}"}, bool, {"sqlite": int})
MOMENT: Final = Kind(
    {"sqlite": "CAST({} AS TEXT)", "postgresql": "to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')"},
    _seconds,
    {"postgresql": "{}+00".format},
)
AS_TEXT: Final = Kind({"sqlite": "CAST({} AS TEXT)", "postgresql": "{}::text"}, None, {})
BYTES: Final = Kind({}, _base64, dict.fromkeys(("sqlite", "postgresql"), base64.b64decode))

KINDS: Final = {
    **dict.fromkeys(("CharField", "TextField", "SlugField", "FileField", "FilePathField"), TEXT),
    **dict.fromkeys(("AutoField", "BigAutoField", "SmallAutoField", "IntegerField", "BigIntegerField"), PLAIN),
    **dict.fromkeys(("SmallIntegerField", "PositiveIntegerField", "PositiveBigIntegerField"), PLAIN),
    **dict.fromkeys(("PositiveSmallIntegerField", "FloatField"), PLAIN),
    **dict.fromkeys(("DateField", "TimeField", "DecimalField", "JSONField"), AS_TEXT),
    "BooleanField": BOOLEAN,
    "DateTimeField": MOMENT,
    "BinaryField": BYTES,
}
"""By Django's names of types of columns."""


def type_of(field: Any) -> str:
    """Of a reference that of what it refers to."""
    while field.remote_field is not None:
        field = field.target_field
    return str(field.get_internal_type())

"""One list of columns."""

import msgspec
import pytest
from django.contrib import admin

from accounts.ledger import inserts, lines
from accounts.ledger.row import OPENING, Amendment, UsageRow
from accounts.models import Usage
from tests.accounts.rows import row

COLUMNS = {field.attname for field in Usage._meta.concrete_fields} - {"id"}


def test_the_table_has_the_columns_of_the_row():
    assert set(UsageRow.__struct_fields__) == COLUMNS


def test_the_console_shows_every_column(rf):
    page = admin.site.get_model_admin(Usage)
    sections = [section["fields"] for _, section in page.get_fieldsets(rf.get("/"))]
    flat = {name for fields in sections for line in fields for name in ([line] if isinstance(line, str) else line)}
    # The source is shown in the reader's language.
    assert flat == {field.name for field in Usage._meta.concrete_fields} - {"id", "usage_source"} | {"tokens_from"}


def test_rows_are_inserted_with_every_column():
    assert {field.column for field in Usage._meta.concrete_fields} - {"id"} == set(inserts.NAMES)
    # The values of a row are taken as they stand in it.
    read = lines.read([msgspec.json.encode(row("r1"))]).rows["r1"]
    assert read.__struct_fields__ == inserts.NAMES


@pytest.mark.parametrize(
    ("given", "name", "stored"),
    [
        ({"model": "m" * 200}, "model", "m" * 128), ({"model": "a\0b"}, "model", "ab"),
        ({"queue_ms": -1}, "queue_ms", 0),
        ({"total_ms": 2**40}, "total_ms", 2**31 - 1), ({"first_token_ms": None}, "first_token_ms", None),
        ({"model": "qwen"}, "model", "qwen"),
    ],
)  # fmt: skip
def test_what_no_column_can_hold_is_cut(given, name, stored):
    line = msgspec.json.encode(row("r1", **given))
    assert getattr(lines.read([line]).rows["r1"], name) == stored
    opened = OPENING + b'"run","row":' + msgspec.json.encode(row("r1", **given | {"status": "open"})) + b"}"
    assert getattr(lines.read([opened]).openings["r1"].row, name) == stored


def begun(at):
    """A row and an amendment of a turn that began then."""
    return [msgspec.json.encode(row("r1", started_at=at)), msgspec.json.encode(Amendment("r1", at, 1, 1))]


@pytest.mark.parametrize(
    "line",
    [
        msgspec.json.encode(row("r1", status="open")),
        # No time, none that the system knows, none whose hour has an end, and one of before there were computers.
        *begun(1e300), *begun(1e18), *begun(253402300799.0), *begun(-6e10),
        b"[" * 10_000,
    ],
)  # fmt: skip
def test_what_is_no_row_is_set_aside(line):
    assert lines.read([line]).rejected == [line]

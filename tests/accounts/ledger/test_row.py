"""One list of columns."""

from datetime import UTC, datetime

import msgspec
import pytest
from django.contrib import admin
from hypothesis import example, given
from hypothesis import strategies as st

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


@given(st.floats(0, lines.LAST))
@example(0.9999994)
@example(0.9999996)
@example(1_796_000_000.0)
def test_times_are_written_as_django_writes_them(at):
    assert inserts.text_of(at) == str(datetime.fromtimestamp(at, UTC).replace(tzinfo=None))


@pytest.mark.parametrize(
    ("said", "name", "stored"),
    [
        ({"model": "m" * 200}, "model", "m" * 128), ({"model": "a\0b"}, "model", "ab"),
        ({"queue_ms": -1}, "queue_ms", 0),
        ({"allowed": 5 * 10**9}, "allowed", 5 * 10**9), ({"value": 2**63}, "value", 2**63 - 1),
        ({"total_ms": 2**40}, "total_ms", 2**31 - 1), ({"first_token_ms": None}, "first_token_ms", None),
        ({"model": "qwen"}, "model", "qwen"),
    ],
)  # fmt: skip
def test_values_that_no_column_holds_are_cut(said, name, stored):
    line = msgspec.json.encode(row("r1", **said))
    assert getattr(lines.read([line]).rows["r1"], name) == stored
    opened = OPENING + b'"run","row":' + msgspec.json.encode(row("r1", **said | {"status": "open"})) + b"}"
    assert getattr(lines.read([opened]).openings["r1"].row, name) == stored


def test_line_that_is_no_row_spoils_no_other():
    good = [msgspec.json.encode(row(f"r{number}")) for number in range(4)]
    # Side by side they would be as many rows as lines.
    bad = [*good[1].split(b",", 1), good[2] + b"," + good[3]]
    for at in range(len(bad) + 1):
        found = lines.read([*bad[:at], good[0], *bad[at:], b""])
        assert [*found.rows] == ["r0"]
        assert found.rejected == [*bad, b""]


def test_row_to_be_cleaned_changes_no_other():
    batch = [row(f"r{number}", model="m" * (200 if number == 7 else 9)) for number in range(250)]
    found = lines.read([msgspec.json.encode(each) for each in batch]).rows
    assert [*found] == [each.request_id for each in batch]
    assert {len(each.model) for each in found.values()} == {9, 128}


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
def test_line_without_a_row_is_set_aside(line):
    assert lines.read([line]).rejected == [line]

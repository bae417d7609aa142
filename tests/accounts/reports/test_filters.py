from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.core.exceptions import ValidationError

from accounts.reports.filters import parse

NOW = datetime(2026, 11, 28, 14, 20, 30, tzinfo=UTC)
SHANGHAI = ZoneInfo("Asia/Shanghai")


def span(query, zone=UTC):
    return tuple(parse({name: [text] for name, text in query.items()}, NOW, zone).span)


@pytest.mark.parametrize(
    ("query", "start", "end"),
    [
        ({}, None, None),
        ({"range": "24h"}, NOW - timedelta(hours=24), None),
        ({"range": "month"}, datetime(2026, 10, 31, 16, tzinfo=UTC), None),
        ({"from": "2026-11-28"}, datetime(2026, 11, 27, 16, tzinfo=UTC), None),
        ({"to": "2026-11-28"}, None, datetime(2026, 11, 28, 16, tzinfo=UTC)),
        ({"to": "20261128"}, None, datetime(2026, 11, 28, 16, tzinfo=UTC)),
        ({"from": "2026-11-28T10:00"}, datetime(2026, 11, 28, 2, tzinfo=UTC), None),
        ({"from": "2026-11-28T10:00:00Z", "range": "1h"}, datetime(2026, 11, 28, 10, tzinfo=UTC), None),
        ({"from": "2026-11-28T10:00:00 02:00"}, datetime(2026, 11, 28, 8, tzinfo=UTC), None),
    ],
)
def test_span_is_what_times_say(query, start, end):
    assert span(query, SHANGHAI) == (start, end)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("status", "odd"), ("range", "2h"), ("from", "yesterday"), ("to", "2026-13-01"), ("key", "9" * 19),
        ("model", "m" * 129), ("reason", "a\0b"), ("outcome", "ok"), ("from", "0001-01-01"), ("key", "!"),
        ("status", "!odd"), ("hour_of_week", "mon-24"), ("hour_of_week", "mon-14"),
    ],
)  # fmt: skip
def test_filters_that_make_no_sense_are_named(name, value):
    with pytest.raises(ValidationError) as caught:
        parse({name: [value]}, NOW, SHANGHAI)
    assert list(caught.value.message_dict) == [name]


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("0001-01-01T00:00:00Z", datetime(1000, 1, 1, tzinfo=UTC)), ("0500-01-01", datetime(1000, 1, 1, tzinfo=UTC)),
        ("9999-12-31T23:59:59Z", datetime(9000, 1, 1, tzinfo=UTC)), ("9999-12-01", datetime(9000, 1, 1, tzinfo=UTC)),
    ],
)  # fmt: skip
def test_ends_of_the_calendar_leave_room(text, taken):
    assert span({"from": text}, SHANGHAI) == (taken, None)


def test_end_before_start_is_refused():
    with pytest.raises(ValidationError) as caught:
        parse({"from": ["2026-11-28"], "to": ["2026-11-26"]}, NOW, UTC)
    assert list(caught.value.message_dict) == ["to"]


def test_empty_values_are_no_filter():
    filters = parse({"team": ["", " "], "from": [""], "page": ["3"], "range": ["1h"]}, NOW, UTC)
    assert (filters.values, filters.range) == ({}, "1h")


@pytest.mark.parametrize(
    ("query", "start", "end"),
    [
        ({"range": ["24h"]}, NOW - timedelta(hours=48), NOW - timedelta(hours=24)),
        ({"range": ["month"]}, datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 10, 28, 14, 20, 30, tzinfo=UTC)),
        ({"from": ["2026-11-28T10:00Z"]}, datetime(2026, 11, 28, 5, 39, 30, tzinfo=UTC),
         datetime(2026, 11, 28, 10, tzinfo=UTC)),
        ({"from": ["2026-11-26"], "to": ["2026-11-26"]}, datetime(2026, 11, 25, tzinfo=UTC),
         datetime(2026, 11, 26, tzinfo=UTC)),
    ],
)  # fmt: skip
def test_period_before_is_as_long(query, start, end):
    assert tuple(parse(query, NOW, UTC).before().span) == (start, end)


@pytest.mark.parametrize("query", [{"from": ["1400-01-01"]}, {}, {"to": ["2026-11-28"]}, {"from": ["2027-01-01"]}])
def test_open_start_has_no_span_before(query):
    assert parse(query, NOW, UTC).before() is None

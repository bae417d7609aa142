"""Sums of the API against those of the generator, which adds them up in plain Python."""

import json
from io import StringIO

import pytest
from django.core.management import call_command

SUMS = (
    "turns", "failed", "refused", "prompt_tokens", "completion_tokens", "estimated_turns", "busy_ms", "sessions_reused",
)  # fmt: skip

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("redis_server")]


def test_every_sum_is_that_of_the_generator(api, tmp_path):
    file = tmp_path / "expected.json"
    call_command("seed_demo", "--rows", "400", "--seed", "7", "--expected", str(file), stdout=StringIO())
    expected = json.loads(file.read_text())
    (total,) = api("GET", "usage/summary/").data["results"]
    assert {name: total[name] for name in SUMS} == expected["total"]
    for group, sums in expected["by"].items():
        rows = api("GET", f"usage/summary/?group_by={group}").data["results"]
        assert {row[group] or "": {name: row[name] for name in SUMS} for row in rows} == sums, group
        name, values = next(iter(sums.items()))
        if name and group != "day":
            (row,) = api("GET", f"usage/summary/?{group}={name}").data["results"]
            assert {name: row[name] for name in SUMS} == values, group

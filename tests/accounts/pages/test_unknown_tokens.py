"""Tokens that nobody knows of are a dash, or null, in every place where a turn is shown: never 0."""

import csv
import io
import re

import pytest
from asgiref.sync import async_to_sync
from django.urls import reverse
from django.utils import timezone

from accounts.ledger import totals
from accounts.limits.key_report import report_of
from accounts.models import ApiKey, Usage, UsageHour
from tests.accounts.reports.sample import hours_of

pytestmark = pytest.mark.django_db

KINDS = {
    "refused": {"status": "refused", "reason": "rpm", "instance": "", "usage_source": ""},
    "waited": {"status": "refused", "reason": "overloaded", "instance": "", "usage_source": "estimate"},
    "orphaned": {"status": "error", "reason": "orphaned", "instance": "w1-i1", "usage_source": ""},
}


@pytest.fixture(params=sorted(KINDS))
def turn(request):
    row = Usage.objects.create(
        request_id="req_" + "7" * 32, protocol="openai", endpoint="/v1/chat/completions", model="m", stream=False,
        queue_ms=3, total_ms=4, prompt_tokens=0, completion_tokens=0, api_key=ApiKey.objects.create(name="a"),
        started_at=timezone.now(), **KINDS[request.param],
    )  # fmt: skip
    UsageHour.objects.bulk_create(hours_of([row]))
    totals.rebuild(row.started_at, timezone.now())
    return row


def text_of(response):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


def test_pages_show_a_dash(turn, admin_client):
    for page in (
        reverse("admin:index"),
        reverse("admin:accounts_usage_changelist"),
        reverse("usage_request", args=[turn.request_id]),
        "/usage/rows/?range=24h",
    ):
        shown = text_of(admin_client.get(page))
        assert not re.search(r"(?<!ready )(?<!running )\b0 / 0\b|\b0 in, 0 out", shown), page


def test_page_of_the_row_shows_a_dash(turn, admin_client):
    shown = text_of(admin_client.get(reverse("admin:accounts_usage_change", args=[turn.pk])))
    assert re.search(r"Prompt tokens – Completion tokens – Tokens from –", shown)


@pytest.mark.parametrize("turn", ["orphaned"], indirect=True)
def test_time_that_nobody_knows_is_a_dash(turn, admin_client):
    Usage.objects.update(total_ms=0)
    for page in (
        reverse("admin:index"),
        reverse("admin:accounts_usage_changelist"),
        reverse("admin:accounts_usage_change", args=[turn.pk]),
        reverse("usage_request", args=[turn.request_id]),
        "/usage/rows/?range=24h",
    ):
        shown = text_of(admin_client.get(page))
        assert not re.search(r"\b0\sms\b|Total \(ms\) 0\b", shown), page
    assert "Total (ms) –" in text_of(admin_client.get(reverse("admin:accounts_usage_change", args=[turn.pk])))


@async_to_sync
async def read(response):
    return b"".join([part async for part in response.streaming_content]).decode()


def test_programs_get_null(turn, admin_client):
    (row,) = csv.DictReader(io.StringIO(read(admin_client.get("/usage/export.csv"))))
    assert (row["prompt_tokens"], row["completion_tokens"]) == ("", "")
    (row,) = csv.DictReader(io.StringIO(admin_client.get("/usage/showback/export.csv").content.decode()))
    assert (row["prompt_tokens"], row["completion_tokens"]) == ("", "")
    of_turn = admin_client.get(f"/api/usage/{turn.request_id}/").json()
    (of_group,) = admin_client.get("/api/usage/summary/?group_by=status").json()["results"]
    report = report_of(turn.api_key, turn.api_key.digest, timezone.now())
    assert [each["tokens_from"] for each in report.requests] == [None]
    days = report.days
    for row in (of_turn, of_group, next(day for day in days if day["turns"])):
        assert (row["prompt_tokens"], row["completion_tokens"]) == (None, None)
    (of_none,) = admin_client.get("/api/usage/summary/?status=cancelled").json()["results"]
    assert (of_none["turns"], of_none["prompt_tokens"]) == (0, 0)

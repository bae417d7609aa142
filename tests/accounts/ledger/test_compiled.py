"""Sums whose SQL is kept are those that Django makes anew for each query."""

from datetime import timedelta

import pytest
from django.db.models import Count, Q, Sum
from django.utils import timezone

from accounts.ledger.compiled import compiled
from accounts.models import Usage

pytestmark = pytest.mark.django_db
SUMS = {
    "sum_turns": Sum("count"),
    "sum_slow": Count("pk", filter=Q(total_ms__gt=50)),
    "sum_failed": Sum("count", filter=~Q(status="ok") & Q(model__in=("a", "b"))),
}
KEPT = compiled(Usage, SUMS)


@pytest.fixture
def rows(db):
    now = timezone.now()
    for number in range(12):
        Usage.objects.create(
            request_id=f"r{number}", protocol="openai", endpoint="/v1/x", model="abc"[number % 3], count=number + 1,
            status=("ok", "error")[number % 2], stream=False, queue_ms=0, total_ms=10 * number, prompt_tokens=0,
            completion_tokens=0, started_at=now - timedelta(hours=number),
        )  # fmt: skip
    return Usage.objects.order_by()


def test_sums_are_those_of_django(rows):
    for chosen in (rows, rows.filter(model="b"), rows.filter(total_ms__gt=30, status="error")):
        assert chosen.aggregate(**KEPT) == chosen.aggregate(**SUMS)


def test_groups_are_those_of_django(rows):
    for names in (("model",), ("status", "model")):
        kept, made = (list(rows.values(*names).annotate(**each).order_by(*names)) for each in (KEPT, SUMS))
        assert kept == made


def test_empty_querysets_sum_like_django(rows):
    for nothing in (rows.none(), rows.filter(pk__in=())):
        assert nothing.aggregate(**KEPT) == nothing.aggregate(**SUMS) == {
            "sum_turns": None, "sum_slow": 0, "sum_failed": None,
        }  # fmt: skip

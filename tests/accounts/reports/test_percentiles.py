import pytest

from accounts.models import BOUNDS_MS
from accounts.reports.percentiles import percentile
from accounts.reports.words import percentile_ms


def counts(**buckets):
    return [buckets.get(f"b{bucket}", 0) for bucket in range(len(BOUNDS_MS) + 1)]


@pytest.mark.parametrize(
    ("given", "share", "ms"),
    [
        (counts(), 0.5, None),
        (counts(b0=10), 0.5, 12),
        (counts(b0=1, b1=1), 1, 50),
        (counts(b3=100, b5=100), 0.5, 200),
        (counts(b3=100, b5=100), 0.75, 425),
        (counts(b3=1, b15=99), 0.95, 60_000),
    ],
)
def test_percentile_lies_within_its_bucket(given, share, ms):
    assert percentile(given, share) == ms


@pytest.mark.parametrize(
    ("given", "words"),
    [(counts(), "–"), (counts(b0=10), "≤ 25 ms"), (counts(b0=1, b1=1), "48 ms"), (counts(b15=1), "≥ 60,000 ms")],
)
def test_pages_claim_no_finer_time_than_counted(given, words):
    assert percentile_ms(percentile(given, 0.95)).replace("\N{NO-BREAK SPACE}", " ") == words

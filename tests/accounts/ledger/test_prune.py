"""What is too old leaves the ledger, however many rows there are of it."""

from datetime import UTC, datetime, timedelta

import pytest

from accounts.ledger import prune
from accounts.models import Alert, AlertChannel
from accounts.models.channel import AlertNotice
from gateway_project.lib.secrets.secrets_at_rest import Secret

BEFORE = datetime(2026, 11, 30, tzinfo=UTC)


@pytest.mark.django_db(transaction=True)
def test_alerts_that_still_wait_go_as_well(monkeypatch):
    monkeypatch.setattr(prune, "BATCH", 2)
    channel = AlertChannel.objects.create(name="ops", address=Secret.of(b"https://example.com"))
    for number in range(5):
        alert = Alert.objects.create(kind="disk", subject=str(number), latest_at=BEFORE - timedelta(days=number + 1))
        AlertNotice.objects.create(channel=channel, alert=alert, what=AlertNotice.Occasion.values[0])
    prune.prune(BEFORE)
    assert Alert.objects.count() == 0

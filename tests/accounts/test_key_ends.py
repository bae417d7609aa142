"""When keys end, as it is set in the console."""

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from accounts.models import ApiKey
from tests.accounts.test_key_pages import made, page_of

pytestmark = pytest.mark.django_db


def test_end_in_a_doubled_hour_can_be_saved(admin_client, settings):
    settings.TIME_ZONE = "Europe/Berlin"
    end = datetime(2027, 10, 31, 1, 30, 0, 250, tzinfo=UTC)  # the second 02:30 of that day
    key, _ = made(expires_at=end)
    shown = {"name": "alice", "expires_at_0": "2027-10-31", "expires_at_1": "02:30:00"}
    assert admin_client.post(page_of(key), shown | {"rpm": 7}).status_code == 302
    key.refresh_from_db()
    assert (key.rpm, key.expires_at) == (7, end)
    admin_client.post(page_of(key), shown | {"expires_at_1": "02:45:00"})
    key.refresh_from_db()
    assert key.expires_at == datetime(2027, 10, 31, 0, 45, tzinfo=UTC)
    refused = admin_client.post(page_of(key), shown | {"expires_at_0": "2027-03-28"})
    assert refused.context["adminform"].form.errors.keys() == {"expires_at"}


def test_days_changed_in_the_form_are_counted_anew(admin_client):
    key, _ = made(expires_after_days=30)
    used = timezone.now() - timedelta(days=9, microseconds=7)
    ApiKey.objects.mark_first_used({key.pk: used})
    page = admin_client.get(page_of(key))
    fields = {name: value for name, value in page.context["adminform"].form.initial.items() if value is not None}
    end = timezone.localtime(fields.pop("expires_at"))
    sent = fields | {"scopes": "", "shadow": "", "expires_at_0": f"{end:%Y-%m-%d}", "expires_at_1": f"{end:%H:%M:%S}"}
    assert admin_client.post(page_of(key), sent | {"expires_after_days": 60}).status_code == 302
    key.refresh_from_db()
    assert key.expires_at == key.first_used_at + timedelta(days=60)


@pytest.mark.parametrize(
    ("zone", "day", "time"),
    [("Asia/Shanghai", "0001-01-01", "00:00:00"), ("America/New_York", "9999-12-31", "23:00:00")],
)
def test_end_beyond_every_calendar_is_refused(admin_client, settings, zone, day, time):
    settings.TIME_ZONE = zone
    key, _ = made()
    refused = admin_client.post(page_of(key), {"name": "alice", "expires_at_0": day, "expires_at_1": time})
    assert refused.context["adminform"].form.errors.keys() == {"expires_at"}

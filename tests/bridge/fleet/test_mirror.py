"""What services say of themselves, as rows."""

import msgspec
import pytest
import redis
from django.utils import timezone

from bridge.fleet import mirror
from bridge.models import Instance
from bridge.status.instance import InstanceStatus
from bridge.status.states import InstanceState
from gateway_project.lib.redis import redis_keys

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def odd(redis_server):
    """A service that says what no column takes on PostgreSQL."""
    status = InstanceStatus(
        "w1-i1", process=1, pid=9, generation=1, state=InstanceState.READY, login=True, in_flight=0, limit=8,
        restarts=1, last_error="a\0b", version="v" * 101, upstream="lingma", models=1, started_at=1.0,
        at=timezone.now().timestamp(),
    )  # fmt: skip
    with redis.Redis.from_url(redis_server) as client:
        client.set(f"{redis_keys.INSTANCE}w1-i1", msgspec.json.encode(status), ex=60)
        yield status
        client.delete(f"{redis_keys.INSTANCE}w1-i1")


def test_odd_words_of_one_service_hide_none(odd):
    assert len(mirror.record([odd, msgspec.structs.replace(odd, name="w1-i2", last_error="")], timezone.now())) == 2
    found = Instance.objects.values_list("name", "last_error", "version")
    assert list(found) == [("w1-i1", "ab", "v" * 100), ("w1-i2", "", "v" * 100)]


def test_list_shows_odd_words(admin_client, odd):
    page = admin_client.get("/admin/bridge/instance/")
    assert (page.status_code, "w1-i1" in page.content.decode()) == (200, True)

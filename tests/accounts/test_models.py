import asyncio
from datetime import timedelta

import pytest
import redis
from asgiref.sync import sync_to_async
from django.db import IntegrityError, connections
from django.utils import timezone

from accounts.keys import services
from accounts.keys.keyring import KeyRing
from accounts.models import ApiKey, Team
from gateway_project.lib.database import database_state as database
from gateway_project.lib.redis.redis_link import RedisLink
from tests.accounts.conftest import until

PEPPER = b"pepper"


def key(name="alice", **fields):
    key = ApiKey(name=name, **fields)
    secret = key.renew_secret(PEPPER)
    key.save()
    return key, secret


@pytest.mark.django_db
def test_secret_is_kept_as_its_digest_alone():
    made, secret = key()
    assert made.hint == secret[:12]
    assert secret[13:] not in repr(ApiKey.objects.values().get())


@pytest.mark.django_db
def test_two_live_keys_cannot_share_a_name():
    key()
    with pytest.raises(IntegrityError):
        key()


@pytest.mark.django_db
def test_name_is_free_after_revocation():
    key()
    assert ApiKey.objects.all().revoke() == 1
    key()
    assert [one.state(timezone.now()) for one in ApiKey.objects.order_by("pk")] == ["revoked", "live"]


@pytest.mark.django_db
@pytest.mark.parametrize("limit", ["rpm", "tpm", "concurrency"])
def test_a_limit_is_not_negative(limit):
    with pytest.raises(IntegrityError):
        key(**{limit: -1})


@pytest.mark.django_db
def test_usable_keys_are_neither_revoked_nor_expired():
    now = timezone.now()
    key("fresh", expires_at=now + timedelta(hours=1))
    key("stale", expires_at=now)
    key("revoked", revoked_at=now)
    assert [one.name for one in ApiKey.objects.all().usable(now)] == ["fresh"]
    assert ApiKey.objects.get(name="stale").state(now) == "expired"


@pytest.mark.django_db
def test_the_last_use_moves_forward_only():
    made, _ = key()
    now = timezone.now()
    other, _ = key("other")
    ApiKey.objects.all().mark_last_used({other.pk: (now, "10.0.0.3"), made.pk: (now, "10.0.0.1")})
    ApiKey.objects.all().mark_last_used({made.pk: (now - timedelta(seconds=1), "10.0.0.2")})
    ApiKey.objects.all().mark_last_used({})
    made.refresh_from_db()
    other.refresh_from_db()
    assert (made.last_used_at, made.last_used_from) == (now, "10.0.0.1")
    assert (other.last_used_at, other.last_used_from) == (now, "10.0.0.3")


@pytest.mark.django_db
def test_days_that_change_move_the_end():
    used = timezone.now() - timedelta(days=3)
    made, _ = key(expires_after_days=10)
    ApiKey.objects.all().mark_first_used({made.pk: used})
    made.refresh_from_db()
    assert (made.first_used_at, made.expires_at) == (used, used + timedelta(days=10))
    made.expires_after_days = 30
    made.save(update_fields=["expires_after_days"])
    made.refresh_from_db()
    assert made.expires_at == used + timedelta(days=30)
    made.expires_after_days = None
    made.save()
    assert made.expires_at is None


@pytest.mark.django_db
def test_extended_end_outlives_a_later_save():
    used, later = timezone.now() - timedelta(days=9), timezone.now() + timedelta(days=31)
    made, _ = key(expires_after_days=10)
    ApiKey.objects.all().mark_first_used({made.pk: used})
    ApiKey.objects.filter(pk=made.pk).update(expires_at=later)
    made.refresh_from_db()
    made.rpm = 5
    made.save()
    assert made.expires_at == later
    made.save(update_fields=["expires_at", "expires_after_days", "rpm"])
    made.refresh_from_db()
    assert made.expires_at == later


@pytest.mark.django_db
def test_days_beyond_the_calendar_end_in_time():
    """Stored before so many were refused; a batch of usage rows notes first uses."""
    made, _ = key()
    ApiKey.objects.update(expires_after_days=2_000_000_000)
    used = timezone.now()
    ApiKey.objects.all().mark_first_used({made.pk: used})
    made.refresh_from_db()
    assert made.expires_at == used + timedelta(days=36_500)


@pytest.mark.django_db
def test_earlier_of_two_ends_counts():
    used = timezone.now()
    soon = used + timedelta(days=1)
    made, _ = key(expires_after_days=10, expires_at=soon)
    ApiKey.objects.all().mark_first_used({made.pk: used})
    made.refresh_from_db()
    assert made.expires_at == soon


def revoked_by_save(made):
    made.revoked_at = timezone.now()
    made.save()


CHANGES = {
    "save": revoked_by_save,
    "revoke": lambda made: ApiKey.objects.filter(pk=made.pk).revoke(),
    "delete": lambda made: made.delete(),
    "delete_many": lambda made: ApiKey.objects.filter(pk=made.pk).delete(),
    "pause": services.pause,
    "rotate": lambda made: services.rotate(made, timedelta(0)),
}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("change", CHANGES)
async def test_end_of_a_key_reaches_listening_rings(redis_server, change):
    _, other = await sync_to_async(key)("bystander")
    made, secret = await sync_to_async(key)(team=await Team.objects.acreate(name="core"), allowed_models="a, b")
    link = RedisLink(redis_server, timeout=30)
    ring = KeyRing(PEPPER, link)
    listening = asyncio.create_task(ring.listen())
    await until(lambda: ring.listening)
    bystander, caller = await ring.authenticate(other), await ring.authenticate(secret)
    assert (caller.key_id, caller.team_id, caller.models) == (made.pk, made.team_id, {"a", "b"})
    await sync_to_async(CHANGES[change])(made)
    await until(lambda: (known := ring._known_keys.get(caller.digest)) is None or known.status != "open")
    assert bystander.digest in ring._known_keys
    assert await ring.authenticate(secret) is None
    listening.cancel()
    await asyncio.wait({listening})
    await sync_to_async(connections.close_all)()  # its thread's own, which outlives the test
    await link.close()


@pytest.mark.django_db(transaction=True)
async def test_ring_hears_of_new_and_unused_keys(redis_server):
    _, usual = await sync_to_async(key)()
    link = RedisLink(redis_server, timeout=30)
    ring = KeyRing(PEPPER, link)
    listening = asyncio.create_task(ring.listen())
    await until(lambda: ring.listening)  # what is announced before is not heard
    await ring.preload()
    _, new = await sync_to_async(key)("new")
    await until(lambda: len(ring._known_keys) == 2)
    database.failed("away")
    assert [(await ring.authenticate(secret)).name for secret in (usual, new)] == ["alice", "new"]
    listening.cancel()
    await asyncio.wait({listening})
    await sync_to_async(connections.close_all)()  # its thread's own, which outlives the test
    await link.close()


@pytest.mark.django_db(transaction=True)
def test_change_is_saved_though_not_announced():
    made, _ = key()
    revoked_by_save(made)
    assert ApiKey.objects.get().revoked_at


@pytest.mark.django_db(transaction=True)
def test_keys_made_in_bulk_are_announced(redis_server):
    with redis.Redis.from_url(redis_server) as client, client.pubsub() as heard:
        heard.subscribe("lgw:keys")
        assert heard.get_message(timeout=30)["type"] == "subscribe"
        made = ApiKey(name="a")
        made.renew_secret(PEPPER)
        ApiKey.objects.bulk_create([made])
        assert heard.get_message(timeout=30)["data"] == made.digest.encode()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "change", [lambda team: team.save(), lambda team: Team.objects.filter(pk=team.pk).update(allowed_models="a")]
)
def test_change_of_team_is_announced_for_keys(redis_server, change):
    team = Team.objects.create(name="core")
    made, _ = key(team=team)
    key("other")
    services.rotate(made, timedelta(hours=1))
    with redis.Redis.from_url(redis_server) as client, client.pubsub() as changes:
        changes.subscribe("lgw:keys")
        assert changes.get_message(timeout=30)["type"] == "subscribe"
        change(team)
        assert set(changes.get_message(timeout=30)["data"].decode().split()) == {made.digest, made.previous_digest}

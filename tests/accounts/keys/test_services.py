"""Keys made, rotated, stopped, resumed and revoked."""

from datetime import timedelta

import pytest
import redis
from django.conf import settings
from django.utils import timezone

from accounts.keys import services
from accounts.models import ApiKey, AuditEntry
from gateway_project.lib.secrets.key_secret import digest_of

pytestmark = pytest.mark.django_db


def made(name="alice", **fields):
    key = ApiKey(name=name, **fields)
    return key, services.create(key)


def test_created_key_has_its_secret_as_digest():
    key, secret = made()
    assert ApiKey.objects.get().digest == key.digest == digest_of(secret, settings.KEY_PEPPER)


def test_rotation_keeps_the_old_secret_for_a_time():
    key, old = made()
    before = timezone.now()
    new = services.rotate(key, timedelta(hours=1))
    key.refresh_from_db()
    assert key.digest == digest_of(new, settings.KEY_PEPPER)
    assert key.previous_digest == digest_of(old, settings.KEY_PEPPER)
    assert key.hint == new[:12]
    assert timedelta(0) <= key.previous_until - before - timedelta(hours=1) < timedelta(seconds=30)


@pytest.mark.parametrize("grace", [timedelta(seconds=-1), timedelta(days=31)])
def test_grace_has_bounds(grace):
    key, secret = made()
    with pytest.raises(ValueError, match="grace"):
        services.rotate(key, grace)
    assert ApiKey.objects.get().digest == digest_of(secret, settings.KEY_PEPPER)


def test_pause_and_resume_happen_once():
    key, _ = made()
    assert [services.pause(key, " seen in a repository "), services.pause(key)] == [True, False]
    assert (key.state(timezone.now()), key.pause_reason) == ("paused", "seen in a repository")
    assert [services.resume(key), services.resume(key)] == [True, False]
    assert (key.state(timezone.now()), key.pause_reason) == ("live", "")


def test_quarantine_is_lifted_by_operators_alone():
    key, _ = made()
    services.pause(key, "on leave")
    assert [services.quarantine(key, " leaked "), services.quarantine(key)] == [True, False]
    assert (key.state(timezone.now()), key.quarantine_reason) == ("quarantined", "leaked")
    with pytest.raises(services.InQuarantine):
        services.resume(key, quarantined=False)
    assert key.state(timezone.now()) == "quarantined"
    assert services.resume(key) is True
    assert (key.state(timezone.now()), key.quarantine_reason, key.pause_reason) == ("live", "", "")
    assert [row.action for row in AuditEntry.objects.order_by("id")][-3:] == ["paused", "quarantined", "resumed"]


def test_revoked_key_stays_as_it_is():
    key, _ = made()
    assert [services.revoke(key), services.revoke(key)] == [True, False]
    for change in (
        lambda: services.rotate(key, timedelta(0)),
        lambda: services.pause(key),
        lambda: services.quarantine(key),
        lambda: services.resume(key),
    ):
        with pytest.raises(services.KeyRevoked):
            change()
    assert key.state(timezone.now()) == "revoked"


@pytest.mark.django_db(transaction=True)
def test_all_secrets_of_a_key_are_announced(redis_server):
    key, _ = made()
    first = key.digest
    services.rotate(key, timedelta(hours=1))
    second = key.digest
    with redis.Redis.from_url(redis_server) as client, client.pubsub() as changes:
        changes.subscribe("lgw:keys")
        assert changes.get_message(timeout=30)["type"] == "subscribe"
        services.rotate(key, timedelta(hours=1))
        assert set(changes.get_message(timeout=30)["data"].decode().split()) == {first, second, key.digest}
        ApiKey.objects.filter(pk=key.pk).revoke()
        assert set(changes.get_message(timeout=30)["data"].decode().split()) == {second, key.digest}

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.utils import timezone

from accounts.keys import playground, services
from accounts.models import ApiKey, AuditEntry, Team

pytestmark = pytest.mark.django_db


@pytest.fixture
def user():
    return User.objects.create_user("ada")


def live_names():
    return set(ApiKey.objects.filter(revoked_at=None).values_list("name", flat=True))


def test_key_is_small_and_ends_within_the_hour(user):
    key, secret = playground.begin(user, None)
    assert secret.startswith("lgw_")
    assert key.name == "playground: ada"
    assert timedelta(minutes=59) < key.expires_at - timezone.now() <= timedelta(hours=1)
    assert (key.rpm, key.tpm, key.concurrency) == (20, 100_000, 2)
    assert playground.current(user, timezone.now()) == key
    assert playground.current(user, timezone.now() + timedelta(hours=1)) is None


def test_next_key_ends_the_one_before(user):
    first, _ = playground.begin(user, None)
    second, _ = playground.begin(user, Team.objects.create(name="Ads"))
    first.refresh_from_db()
    assert first.revoked_at is not None
    assert playground.current(user, timezone.now()) == second
    assert playground.end(user)
    assert not playground.end(user)
    assert live_names() == set()


def test_key_ends_with_its_user(user):
    key, _ = playground.begin(user, None)
    user.is_active = False
    user.save()
    key.refresh_from_db()
    assert key.revoked_at is not None
    user.is_active = True
    user.save()
    key, _ = playground.begin(user, None)
    user.delete()
    key.refresh_from_db()
    assert (key.revoked_at is None, key.playground_user) == (False, None)


def test_keys_of_two_people_are_apart(user):
    playground.begin(user, None)
    other = User.objects.create_user("bob")
    playground.begin(other, None)
    playground.end(other)
    assert live_names() == {"playground: ada"}


@pytest.mark.parametrize("name", ["ada", "a" * 149])
def test_name_that_is_taken_gets_a_number(name):
    user = User.objects.create_user(name + "2")
    services.create(ApiKey(name=f"playground: {name}2"[:100]))
    key, _ = playground.begin(user, None)
    assert key.name.endswith(f" ({user.pk})")
    assert len(key.name) <= 100


def test_failed_key_leaves_the_old_one(user):
    key, _ = playground.begin(user, None)
    for name in ("playground: ada", f"playground: ada ({user.pk})"):
        ApiKey.objects.filter(pk=key.pk).update(name="renamed")
        services.create(ApiKey(name=name))
    with pytest.raises(ValidationError):
        playground.begin(user, None)
    assert playground.current(user, timezone.now()) == key


def test_audit_log_has_the_life_of_keys(user):
    key, _ = playground.begin(user, None)
    playground.end(user)
    entries = AuditEntry.objects.filter(object_type="accounts.apikey", object_id=str(key.pk)).order_by("pk")
    assert [entry.action for entry in entries] == ["created", "revoked"]
    assert entries[0].changes["playground_user"] == [None, "ada"]


def test_key_outlives_its_user_as_a_row(user):
    key, _ = playground.begin(user, None)
    user.delete()
    key.refresh_from_db()
    assert (key.playground_user, key.name) == (None, "playground: ada")


def test_key_is_none_of_those_that_expire_soon(user):
    playground.begin(user, None)
    assert not ApiKey.objects.expiring_soon(timezone.now()).exists()

import json
from io import StringIO

import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.models import User
from django.core.management import call_command
from pydantic import SecretStr

from accounts.models import ApiKey
from gateway_project.lib.secrets.key_secret import digest_of, is_generated

pytestmark = pytest.mark.django_db


@pytest.fixture
def start(settings):
    def run(**variables):
        settings.ENV = settings.ENV.model_copy(update=variables)
        out = StringIO()
        call_command("bootstrap", stdout=out)
        return json.loads(out.getvalue())

    return run


def test_new_installation_gets_superuser_and_key(start):
    told = start()
    assert authenticate(username=told["admin_username"], password=told["admin_password"]).is_superuser
    assert is_generated(told["api_key"])


def test_second_start_makes_and_prints_nothing(start):
    start()
    assert start() == {"admin_username": "admin", "admin_password": None, "api_key": None}
    assert (User.objects.count(), ApiKey.objects.count()) == (1, 1)


def test_given_password_is_used_and_not_printed(start):
    told = start(admin_username="root", admin_password=SecretStr("a-given-password"))
    assert (told["admin_username"], told["admin_password"]) == ("root", None)
    assert authenticate(username="root", password="a-given-password")


def test_environment_keys_are_imported_once_as_digests(start, settings):
    for _ in range(2):
        told = start(api_keys=["sk-some-old-key-of-ours", "other"])
    assert told["api_key"] is None
    assert set(ApiKey.objects.values_list("digest", flat=True)) == {
        digest_of("sk-some-old-key-of-ours", settings.KEY_PEPPER),
        digest_of("other", settings.KEY_PEPPER),
    }
    assert "old-key" not in repr(list(ApiKey.objects.values()))


def test_an_imported_key_that_was_revoked_stays_revoked(start):
    start(api_keys=["other"])
    ApiKey.objects.all().revoke()
    start(api_keys=["other"])
    assert ApiKey.objects.get().revoked_at

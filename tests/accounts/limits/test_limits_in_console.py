"""The console shows how limits stand, and what those in shadow mode would have refused."""

import re
import time

import pytest
import redis
from django.urls import reverse
from django.utils.timezone import get_default_timezone_name

from accounts.limits.counters import shadow_key
from accounts.limits.periods import periods_at
from accounts.models import ApiKey, Team
from gateway_project.lib.redis import redis_keys

pytestmark = pytest.mark.django_db


@pytest.fixture
def client_of_redis(redis_server):
    with redis.Redis.from_url(redis_server) as client:
        client.flushall()
        yield client


@pytest.fixture
def key():
    team = Team.objects.create(name="blue", tokens_day=5000, time_zone="Asia/Shanghai", shadow="tokens_day")
    made = ApiKey(name="alice", team=team, rpm=40, requests_month=9, concurrency=1, shadow="rpm")
    made.adopt("lgw_a-secret-of-alice", b"pepper")
    made.save()
    return made


def count(client, key, *, yesterday, today):
    now = time.time()
    for at, requests in ((now, today), (periods_at(now, get_default_timezone_name()).starts[0] - 1, yesterday)):
        client.hset(shadow_key(at), mapping={str(key.pk): requests, f"{key.pk}:k:1": requests, f"{key.pk}:t:7": 2})


def test_key_page_shows_what_is_used_and_left(admin_client, client_of_redis, key):
    client_of_redis.zadd(redis_keys.limits("key", key.pk)[0], {"r1": time.time(), "r2": time.time()})
    count(client_of_redis, key, yesterday=37, today=4)
    page = admin_client.get(reverse("admin:accounts_apikey_change", args=[key.pk])).content.decode()
    text = " ".join(page.split())
    assert "40 requests per minute" in text
    assert "would have refused 4 today, 37 yesterday" in text
    assert "would have refused 2 today, 2 yesterday" in text
    assert "9 requests per month" in text
    assert "1 turn at once" in text
    assert re.search(rf'<a [^>]*href="/usage/rows/\?key={key.pk}&amp;from=[^"]*Z&amp;status=%21refused">2</a>', text)
    assert re.search(r"\d\d:\d\d:\d\d UTC", text), "a time without its zone means nothing"


def test_team_page_shows_limits_of_the_team(admin_client, client_of_redis, key):
    count(client_of_redis, key, yesterday=37, today=4)
    page = admin_client.get(reverse("admin:accounts_team_change", args=[key.team_id])).content.decode()
    assert "5,000 tokens per day" in page
    assert "would have refused 2 today, 2 yesterday" in page


def test_first_page_tells_of_shadows(admin_client, client_of_redis, key):
    assert "in shadow mode" not in admin_client.get(reverse("admin:index")).content.decode()
    count(client_of_redis, key, yesterday=37, today=4)
    page = admin_client.get(reverse("admin:index")).content.decode()
    assert "Limits in shadow mode would have refused 37 requests of 1 key yesterday." in page
    assert "Today they would have refused 4 requests of 1 key." in page
    assert reverse("admin:accounts_apikey_change", args=[key.pk]) in page


def test_unlimited_key_has_no_table(admin_client, client_of_redis):
    made = ApiKey(name="free")
    made.adopt("lgw_a-secret-of-nobody", b"pepper")
    made.save()
    page = admin_client.get(reverse("admin:accounts_apikey_change", args=[made.pk])).content.decode()
    assert "Limits now" not in page

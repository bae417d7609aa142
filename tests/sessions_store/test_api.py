"""Sessions in the operators' API."""

import time

import msgspec
import pytest

from accounts.models import ApiKey
from sessions_store.store import StoredEntry

pytestmark = pytest.mark.django_db


@pytest.fixture
def sessions(client_of_redis):
    """Two, the newer one of a key that is there and the older one of a key that is gone."""
    key = ApiKey.objects.create(name="Ada's laptop", hint="lgw_Ab3dEf7h", digest="0" * 64)
    client_of_redis.set("lgw:instance:w1-i1", msgspec.json.encode({"name": "w1-i1", "generation": 1}))
    for session, api_key_id, age in (("s-new", key.pk, 5), ("s-old", key.pk + 1, 50)):
        used_at = time.time() - age
        stored = StoredEntry(f"f-{session}", session, "w1-i1", 1, api_key_id, 4, 2, used_at - 90, used_at)
        client_of_redis.set(f"lgw:session:{session}", msgspec.json.encode(stored))
        client_of_redis.zadd("lgw:sessions", {session: used_at})
    return key


def listed(client, query=""):
    answer = client.get(f"/api/sessions/{query}")
    assert answer.status_code == 200
    return [row["session_id"] for row in answer.json()["results"]]


def test_list_is_that_of_redis(admin_client, sessions):
    assert listed(admin_client) == ["s-new", "s-old"]
    assert listed(admin_client, "?ordering=used_at") == ["s-old", "s-new"]
    assert listed(admin_client, "?instance=w1-i1&state=idle") == ["s-new", "s-old"]
    assert listed(admin_client, "?key=Ada's laptop") == ["s-new"]
    assert listed(admin_client, "?state=in_use") == []


def test_pages_continue_where_they_ended(admin_client, sessions):
    first = admin_client.get("/api/sessions/?page_size=1").json()
    assert [row["session_id"] for row in first["results"]] == ["s-new"]
    second = admin_client.get(first["next"]).json()
    assert [row["session_id"] for row in second["results"]] == ["s-old"]
    assert admin_client.get(second["previous"]).json()["results"] == first["results"]


def test_session_names_its_key(admin_client, sessions):
    new, old = (admin_client.get(f"/api/sessions/{session}/").json() for session in ("s-new", "s-old"))
    assert (new["key"], new["key_id"], new["hits"]) == ("Ada's laptop", sessions.pk, 2)
    assert (old["key"], old["key_id"]) == (None, sessions.pk + 1)
    assert admin_client.get("/api/sessions/s-none/").status_code == 404
    assert admin_client.delete("/api/sessions/s-new/").status_code == 405


def test_list_without_redis_is_the_copy(admin_client, sessions, settings):
    settings.REDIS_URL = "unix:///nowhere/redis.sock"
    assert listed(admin_client) == []

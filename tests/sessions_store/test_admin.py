"""What operators see of the sessions, and that deleting reaches Redis."""

import re
import sqlite3
import time

import msgspec
import pytest
from django.db import connection
from django.urls import reverse

from accounts.models import ApiKey
from sessions_store import inspect, services, tasks
from sessions_store.models import Entry
from sessions_store.store import StoredEntry
from tests.accounts.audit.rows import new_rows

LIST = reverse("admin:sessions_store_entry_changelist")


@pytest.fixture
def key(db):
    return ApiKey.objects.create(name="Ada's laptop", hint="lgw_Ab3dEf7h", digest="0" * 64)


@pytest.fixture
def put(client_of_redis, key):
    """Put an entry into Redis as the store does."""

    def put(session, instance="w1-i1", used_at=None, api_key_id=key.pk, start=1):
        client_of_redis.set(f"lgw:instance:{instance}", msgspec.json.encode({"name": instance, "generation": start}))
        used_at = used_at or time.time()
        stored = StoredEntry(f"f-{session}", session, instance, 1, api_key_id, 4, 2, used_at - 90, used_at)
        client_of_redis.set(f"lgw:session:{session}", msgspec.json.encode(stored))
        client_of_redis.zadd("lgw:sessions", {session: used_at})

    return put


def rows(page):
    return re.findall(r'name="_selected_action" value="([^"]+)"', page.content.decode())


def test_the_list_shows_what_is_in_redis_now(admin_client, put):
    put("s1")
    page = admin_client.get(LIST)
    assert rows(page) == ["s1"]
    for text in ("Ada&#x27;s laptop", "lgw_Ab3dEf7h", "w1-i1", "idle"):
        assert text in page.content.decode()


def test_session_that_left_redis_leaves_the_list(admin_client, put, client_of_redis):
    put("s1")
    admin_client.get(LIST)
    client_of_redis.delete("lgw:session:s1")
    assert rows(admin_client.get(LIST)) == []


def test_the_list_can_be_filtered(admin_client, put, key):
    put("s1", instance="w1-i1")
    put("s2", instance="w2-i1")
    assert rows(admin_client.get(LIST, {"instance": "w2-i1"})) == ["s2"]
    assert len(rows(admin_client.get(LIST, {"api_key__id__exact": key.pk}))) == 2
    assert rows(admin_client.get(LIST, {"state__exact": "in_use"})) == []


def test_entry_of_deleted_key_is_still_listed(admin_client, put):
    put("s1", api_key_id=4711)
    assert "deleted key" in admin_client.get(LIST).content.decode()


def test_deletion_asks_and_reaches_redis(admin_client, put, client_of_redis):
    put("s1")
    put("s2")
    admin_client.get(LIST)
    chosen = {"action": "delete_selected", "_selected_action": ["s1"]}
    assert "Are you sure" in admin_client.post(LIST, chosen).content.decode()
    assert len(client_of_redis.keys("lgw:session:s*")) == 2
    page = admin_client.post(LIST, chosen | {"post": "yes"}, follow=True)
    assert [str(each) for each in page.context["messages"]] == [
        "Deleted 1 session. Its conversation starts anew upstream."
    ]
    assert rows(page) == ["s2"]
    assert client_of_redis.keys("lgw:session:s*") == [b"lgw:session:s2"]


def test_deletion_is_in_the_audit_log(admin_client, put, client_of_redis):
    put("s1")
    put("s2")
    with new_rows() as rows:
        admin_client.post(LIST, {"action": "delete_selected", "_selected_action": ["s1"], "post": "yes"})
    assert [(row.action, row.object_type, row.object_id) for row in rows] == [("deleted", "sessions_store.entry", "s1")]
    assert rows[0].actor == "admin"


def test_deletion_of_one_reaches_redis(admin_client, put, client_of_redis):
    put("s1")
    admin_client.get(LIST)
    admin_client.post(reverse("admin:sessions_store_entry_delete", args=["s1"]), {"post": "yes"})
    assert not client_of_redis.exists("lgw:session:s1")


def test_sessions_cannot_be_added_or_changed(admin_client, put):
    put("s1")
    admin_client.get(LIST)
    assert admin_client.get(reverse("admin:sessions_store_entry_add")).status_code == 403
    assert b"_save" not in admin_client.get(reverse("admin:sessions_store_entry_change", args=["s1"])).content


def test_list_without_redis_shows_what_was_known(admin_client, put, settings):
    put("s1")
    tasks.clean()
    settings.REDIS_URL = "unix:///nowhere/redis.sock"
    page = admin_client.get(LIST)
    assert rows(page) == ["s1"]
    assert "Redis cannot be reached" in page.content.decode()


def test_empty_copy_is_no_empty_store(admin_client, settings):
    settings.REDIS_URL = "unix:///nowhere/redis.sock"
    page = admin_client.get(LIST).content.decode()
    assert "The last copy is empty" in page
    assert "A session appears when" not in page


def test_empty_list_explains_what_it_would_show(admin_client, client_of_redis):
    assert "A session appears when" in admin_client.get(LIST).content.decode()


def test_the_list_costs_no_query_per_entry(admin_client, put, django_assert_num_queries):
    for number in range(5):
        put(f"s{number}")
    admin_client.get(LIST)
    with django_assert_num_queries(7):
        admin_client.get(LIST)


def test_look_writes_nothing_and_entries_can_be_deleted(admin_client, put, client_of_redis):
    put("s1")
    assert rows(admin_client.get(LIST)) == ["s1"]
    assert not Entry.objects.exists()
    admin_client.post(LIST, {"action": "delete_selected", "_selected_action": ["s1"], "post": "yes"})
    assert not client_of_redis.exists("lgw:session:s1")


def test_list_searches_by_key_and_shows_hundreds(admin_client, put, key):
    other = ApiKey.objects.create(name="Bob", digest="1" * 64)
    for number in range(200):
        put(f"b{number}", api_key_id=other.pk)
    put("s1")
    assert rows(admin_client.get(LIST, {"q": "Ada"})) == ["s1"]
    assert admin_client.get(LIST).context["cl"].result_count == 201


def test_mirror_loses_expired_entries_when_cleaned(put, client_of_redis):
    put("old", used_at=1000.0)
    put("new")
    Entry.objects.mirror(inspect.entries(client_of_redis, now=time.time(), limit=99))
    client_of_redis.delete("lgw:session:old")
    assert tasks.clean() == 1
    assert tasks.clean() == 0
    assert list(Entry.objects.values_list("pk", flat=True)) == ["new"]


@pytest.mark.parametrize("way", ["restarted", "gone"])
def test_session_of_ended_start_is_gone(admin_client, put, client_of_redis, way):
    put("s1")
    put("s2", instance="w2-i1")
    if way == "gone":
        client_of_redis.delete("lgw:instance:w1-i1")
    else:
        client_of_redis.set("lgw:instance:w1-i1", msgspec.json.encode({"name": "w1-i1", "generation": 2}))
    assert rows(admin_client.get(LIST, {"state__exact": "gone"})) == ["s1"]
    assert rows(admin_client.get(LIST, {"state__exact": "idle"})) == ["s2"]


@pytest.mark.parametrize("odd", [b"", b"[1]", b"\xff", b'{"session_id":"odd"}', b'{"generation":"w1-7"}'])
def test_entries_of_another_version_are_left_out(admin_client, put, client_of_redis, odd):
    put("s1")
    put("odd")
    client_of_redis.set("lgw:session:odd", odd)
    client_of_redis.hset("lgw:sessions:in_use", mapping={"taken": b"%d %b" % (time.time() + 600, odd), "new": odd})
    assert rows(admin_client.get(LIST)) == ["s1"]
    assert [row["session_id"] for row in admin_client.get("/api/sessions/").json()["results"]] == ["s1"]
    assert tasks.clean() == 1
    assert list(Entry.objects.values_list("pk", flat=True)) == ["s1"]


def test_failed_deletion_does_not_say_done(admin_client, put, settings):
    put("s1")
    tasks.clean()
    settings.REDIS_URL = "unix:///nowhere/redis.sock"
    page = admin_client.post(reverse("admin:sessions_store_entry_delete", args=["s1"]), {"post": "yes"}, follow=True)
    texts = [str(each) for each in page.context["messages"]]
    assert any("Nothing was deleted." in text for text in texts)
    assert not any("successfully" in text for text in texts)
    assert Entry.objects.filter(pk="s1").exists()


@pytest.mark.skipif(connection.vendor != "sqlite", reason="only SQLite has such a limit")
def test_copy_takes_any_number_of_sessions(db, redis_server, monkeypatch):
    monkeypatch.setattr(connection.features, "max_query_params", 999)
    connection.ensure_connection()
    before = connection.connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 999)
    try:
        now = time.time()
        found = [(StoredEntry(f"f-{n}", f"s-{n}", "w1-i1", 1, 5, 4, 2, now, now), "idle") for n in range(1_500)]
        for some in (found, found[200:], found[:1_200]):
            Entry.objects.mirror(some)
            assert Entry.objects.count() == len(some)
        services.forget(redis_server, [stored.session_id for stored, _ in found], 60)
        assert not Entry.objects.exists()
    finally:
        connection.connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, before)

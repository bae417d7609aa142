"""From the web process to the table: a real Redis, a real database."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from django.db.models.signals import pre_delete
from django.utils import timezone

from accounts.content import filing, retention
from accounts.content.outbox import MOST_PENDING, Outbox, sealed
from accounts.content.turn_content import Piece, StoredMessage, TurnContent, unpacked
from accounts.models import AuditEntry, UsageContent
from gateway_project.lib.redis import redis_keys
from gateway_project.lib.redis.redis_client import connect
from gateway_project.lib.redis.redis_link import RedisLink
from gateway_project.lib.secrets.secrets_at_rest import Secret
from tests.accounts.roles.people import make_key

pytestmark = pytest.mark.django_db(transaction=True)
SECRET = "sk-proj-abcDEF_1234567890"


def content(text="Hello."):
    return TurnContent([StoredMessage("user", text)], ["read"], [Piece("text", "Hi.")])


class Losses(list):
    def __call__(self, reason):
        self.append(reason)


@pytest.fixture
def losses():
    return Losses()


@pytest.fixture
async def outbox(link, losses):
    return Outbox(link, losses)


@pytest.fixture
def key():
    return make_key("talker", content_logging=True)


@pytest.fixture
def client(redis_server):
    with connect(redis_server) as client:
        yield client


def stored(request_id, key, at, text="Hello."):
    return UsageContent.objects.create(
        request_id=request_id, api_key=key, started_at=at, content=Secret(sealed(content(text)))
    )


async def send(outbox, request_id, key, at=None, text="Hello."):
    at = timezone.now() if at is None else at
    await outbox.send(request_id, key.pk, at.timestamp(), lambda: content(text))


async def test_content_comes_into_its_table(outbox, key, client, losses):
    await send(outbox, "req_a", key, text=f"My key is {SECRET}.")
    waiting = client.xrange(redis_keys.CONTENT)
    assert SECRET.encode() not in repr(waiting).encode()
    assert b"Hi." not in waiting[0][1][b"content"]
    await _in_thread(lambda: filing.file(client, 7))
    row = await UsageContent.objects.aget()
    kept = unpacked(row.content.read())
    assert kept.messages[0].text == "My key is [API key]."
    assert (kept.reply[0].text, kept.tools) == ("Hi.", ["read"])
    assert (client.exists(redis_keys.CONTENT), client.exists(redis_keys.CONTENT_BYTES)) == (0, 0)
    assert losses == []


async def _in_thread(work):
    return await sync_to_async(work)()


async def test_worker_away_drops_contents_within_bound(outbox, key, client, losses, monkeypatch):
    monkeypatch.setattr("accounts.content.outbox.MOST_BYTES", 2000)
    for number in range(20):
        await send(outbox, f"req_{number}", key)
    held = int(client.get(redis_keys.CONTENT_BYTES))
    assert held <= 2000
    assert held == sum(len(fields[b"content"]) for _, fields in client.xrange(redis_keys.CONTENT))
    assert losses == ["full"] * (20 - client.xlen(redis_keys.CONTENT))
    await _in_thread(lambda: filing.file(client, 7))
    await send(outbox, "req_later", key)
    assert client.xlen(redis_keys.CONTENT) == 1


async def test_redis_away_drops_contents(tmp_path, losses, key):
    link = RedisLink(f"unix://{tmp_path / 'nobody.sock'}")
    await send(Outbox(link, losses), "req_a", key)
    assert losses == ["redis"]
    await link.close()


async def test_contents_beyond_the_pending_bound_are_dropped(outbox, key, losses):
    await asyncio.gather(*(send(outbox, f"req_{number}", key) for number in range(MOST_PENDING + 5)))
    assert losses == ["busy"] * 5


async def test_content_that_cannot_be_made_harms_nobody(outbox, key, losses, caplog):
    def broken():
        raise RuntimeError("broken")

    await outbox.send("req_a", key.pk, 0.0, broken)
    assert losses == ["failed"]
    assert "the content of a turn could not be kept" in caplog.text


async def test_content_filed_twice_is_one_row(outbox, key, client):
    await send(outbox, "req_a", key)
    entries = client.xrange(redis_keys.CONTENT)
    await _in_thread(lambda: filing.file(client, 7))
    client.xadd(redis_keys.CONTENT, entries[0][1])
    await _in_thread(lambda: filing.file(client, 7))
    assert await UsageContent.objects.acount() == 1


async def test_contents_that_may_not_stay_are_dropped(outbox, key, client):
    await send(outbox, "req_old", key, timezone.now() - timedelta(days=8))
    gone = await _in_thread(lambda: make_key("gone"))
    await send(outbox, "req_gone", gone)
    await _in_thread(gone.delete)
    client.xadd(redis_keys.CONTENT, {b"request": b"req_bad"})
    await _in_thread(lambda: filing.file(client, 7))
    assert await UsageContent.objects.acount() == 0
    assert client.xlen(redis_keys.CONTENT) == 0
    await send(outbox, "req_off", key)
    await _in_thread(lambda: filing.file(client, 0))
    assert await UsageContent.objects.acount() == 0


async def test_deleted_contents_do_not_come_later(outbox, key, client):
    await send(outbox, "req_before", key)
    await _in_thread(lambda: stored("req_filed", key, timezone.now()))
    assert await _in_thread(lambda: retention.delete_of(key)) == 1
    await send(outbox, "req_after", key)
    await _in_thread(lambda: filing.file(client, 7))
    assert [row.request_id async for row in UsageContent.objects.all()] == ["req_after"]
    entry = await AuditEntry.objects.aget(action="deleted")
    assert (entry.object_type, entry.object_id) == ("accounts.usagecontent", str(key.pk))
    assert entry.object_text == f"1 × logged contents: {key}"


def test_prune_deletes_by_age_in_batches(key, monkeypatch):
    monkeypatch.setattr(retention, "BATCH", 3)
    now = datetime(2026, 11, 29, 12, tzinfo=UTC)
    for number in range(10):
        stored(f"req_{number}", key, now - timedelta(days=number))
    assert retention.prune(retention.kept_since(now, 4)) == 5
    assert UsageContent.objects.count() == 5
    assert retention.prune(retention.kept_since(now, 0)) == 4
    assert retention.prune(now + timedelta(seconds=1), within=0.0) == 0


def test_another_deletion_leaves_none_behind(key, monkeypatch):
    """Of a batch, another process may be faster with some."""
    monkeypatch.setattr(retention, "BATCH", 3)
    for number in range(10):
        stored(f"req_{number}", key, timezone.now())

    def delete_another(instance, **_):
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM accounts_usagecontent WHERE request_id = 'req_1'")

    pre_delete.connect(delete_another, sender=UsageContent)
    try:
        deleted = retention.delete_of(key)
    finally:
        pre_delete.disconnect(delete_another, sender=UsageContent)
    assert UsageContent.objects.count() == 0
    assert deleted == 9


def test_contents_go_with_their_key(key):
    stored("req_a", key, timezone.now())
    key.delete()
    assert UsageContent.objects.count() == 0

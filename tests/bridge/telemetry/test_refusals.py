"""Refusals as rows: gathered, counted up, bounded."""

import msgspec
import pytest
import redis

from accounts.ledger.ledger import Ledger
from accounts.ledger.row import UsageRow
from accounts.ledger.shared_rows import row_of
from bridge.telemetry.refusals import MOST, MOST_IDS, MOST_WAITING, Refusals
from gateway_project.lib.redis.redis_keys import USAGE as STREAM
from gateway_project.lib.redis.redis_link import RedisLink

MINUTE = 60.0


@pytest.fixture
async def refusals(redis_server, tmp_path):
    link = RedisLink(redis_server, timeout=30)
    await link.execute("FLUSHDB")
    yield Refusals(Ledger(link, tmp_path))
    await link.close()


@pytest.fixture
def filed(redis_server):
    """The rows that were filed, as (request id, count, value)."""

    def filed():
        with redis.Redis.from_url(redis_server) as client:
            rows = [msgspec.json.decode(entry[b"row"], type=UsageRow) for _, entry in client.xrange(STREAM)]
        return [(row.request_id, row.count, row.value) for row in rows]

    return filed


def refused(number, *, key=7, at=0.0, **fields):
    return UsageRow(
        **{"protocol": "openai", "model": "", "reason": "rpm"} | fields, request_id=f"req_{number}", api_key_id=key,
        endpoint="/v1/chat/completions", status="refused", started_at=at,
    )  # fmt: skip


async def test_refusals_of_one_kind_share_a_row(refusals, filed):
    for number in range(5):
        refusals.note(refused(number, value=60 + number), "lgw_x")
    await refusals.file()
    assert filed() == [("req_0", 5, 64)]


async def test_unchanged_refusal_is_not_filed_again(refusals, filed):
    minute = 4e9  # far ahead, so not over
    refusals.note(refused(1, at=minute), "lgw_x")
    await refusals.file()
    await refusals.file()
    refusals.note(refused(2, at=minute), "lgw_x")
    await refusals.file()
    assert filed() == [("req_1", 1, None), ("req_1", 2, None)]


async def test_keys_reasons_and_minutes_are_kept_apart(refusals, filed):
    for number, fields in enumerate([{}, {"key": 8}, {"reason": "tpm"}, {"at": MINUTE}, {"at": MINUTE - 1}]):
        refusals.note(refused(number, **fields), "lgw_x")
    await refusals.file()
    assert filed() == [("req_0", 2, None), ("req_1", 1, None), ("req_2", 1, None), ("req_3", 1, None)]


async def test_refusals_differ_by_what_sums_group(refusals, filed):
    for number, fields in enumerate([{"agent": "curl"}, {"agent": "codex"}, {"protocol": "anthropic"}, {"team_id": 3}]):
        for _ in range(2):
            refusals.note(refused(number, **fields), "lgw_x")
    await refusals.file()
    assert filed() == [(f"req_{number}", 2, None) for number in range(4)]


async def test_row_of_several_models_is_nobodys(refusals, redis_server):
    minute = 4e9  # far ahead, so not over
    models = []
    with redis.Redis.from_url(redis_server) as client:
        for number, model in enumerate(["qwen", "qwen", "gpt-5", "qwen"]):
            refusals.note(refused(number, model=model, at=minute), "lgw_x")
            await refusals.file()
            ((_, entry),) = client.xrevrange(STREAM, count=1)
            models.append(msgspec.json.decode(entry[b"row"], type=UsageRow).model)
    assert models == ["qwen", "qwen", "", ""]


async def test_a_minute_that_is_over_is_forgotten(refusals, filed):
    refusals.note(refused(1), "lgw_x")
    await refusals.file()
    refusals.note(refused(2), "lgw_x")
    await refusals.file()
    assert filed() == [("req_1", 1, None), ("req_2", 1, None)]


async def test_refusal_without_a_known_key_leaves_no_row(refusals, filed):
    refusals.note(refused(1, key=0, reason="unknown_key"), "")
    await refusals.file()
    assert filed() == []


async def test_gathered_refusals_are_bounded(refusals, filed):
    for number in range(MOST + 100):
        refusals.note(refused(number, key=number + 1), "lgw_x")
    await refusals.file()
    assert len(filed()) == MOST


async def test_first_ids_lead_to_the_shared_row(refusals, redis_server):
    minute = 4e9  # far ahead, so not over
    for number in range(MOST_IDS + 50):
        refusals.note(refused(number, at=minute), "lgw_x")
        if not number % 10:
            await refusals.file()
    await refusals.file()
    known = [number for number in range(MOST_IDS + 50) if row_of(redis_server, f"req_{number}") == "req_0"]
    assert known == list(range(1, MOST_IDS))


async def test_ids_of_a_flood_are_bounded(refusals, redis_server):
    for number in range(5_000):
        refusals.note(refused(number, key=number % 1_000 + 1), "lgw_x")
    await refusals.file()
    with redis.Redis.from_url(redis_server) as client:
        assert sum(client.hlen(name) for name in client.scan_iter("lgw:shared_rows:*")) == MOST_WAITING


async def test_ids_without_a_row_lead_nowhere(refusals, redis_server):
    for number in range(2):
        refusals.note(refused(number, key=0), "")
    await refusals.file()
    assert row_of(redis_server, "req_1") == ""

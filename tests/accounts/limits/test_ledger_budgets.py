"""A budget that Redis has lost is told by the ledger what was used before."""

import asyncio
import re
import time
from datetime import UTC, datetime, timedelta

import pytest
import redis
from django.urls import reverse
from django.utils import timezone

from accounts.keys.limit_set import LimitSet
from accounts.ledger.hours import HourSums, writing
from accounts.limits.admission import Limits
from accounts.limits.ledger_budgets import used_between
from accounts.limits.standing import limits_for, standing_of
from accounts.models import ApiKey, Team, Usage
from gateway_project.lib.redis.redis_link import RedisLink
from tests.accounts.conftest import until
from tests.accounts.limits.test_budgets import caller, outcome

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("patience")]


def file(key, *, at, tokens=10, status="ok", count=1, team=None):
    """A row, and the sums of its hour."""
    turn = Usage(
        request_id=f"req_{time.monotonic_ns()}", api_key=key, team=team, protocol="openai", endpoint="/v1", model="m",
        stream=False, status=status, queue_ms=0, total_ms=1, prompt_tokens=tokens, completion_tokens=0, started_at=at,
        count=count,
    )  # fmt: skip
    with writing():
        turn.save()
        sums = HourSums()
        sums.add(turn)
        sums.write()


@pytest.fixture
def key():
    made = ApiKey(name="alice")
    made.adopt("lgw_a-secret-of-alice", b"pepper")
    made.save()
    return made


def test_ledger_counts_turns_that_were_admitted(key):
    team, noon = Team.objects.create(name="blue"), datetime(2026, 11, 11, 12, 30, tzinfo=UTC)
    for hours in (-30, -1, 0, 1):
        file(key, at=noon + timedelta(hours=hours), team=team)
    file(key, at=noon, tokens=0, status="refused", count=50, team=team)
    start, end = (noon - timedelta(hours=2)).timestamp(), (noon + timedelta(minutes=10)).timestamp()
    assert used_between(LimitSet.of("key", key.pk), start, end) == (2, 20)
    assert used_between(LimitSet.of("team", team.pk), start, end) == (2, 20)
    assert used_between(LimitSet.of("key", key.pk + 1), start, end) == (0, 0)


async def test_lost_counter_is_made_anew_from_the_ledger(link, key, monkeypatch):
    monkeypatch.setattr("accounts.limits.ledger_budgets.AFTER_SEC", 0.05)
    from asgiref.sync import sync_to_async

    now = timezone.now()
    for number in range(3):
        await sync_to_async(file)(key, at=now - timedelta(seconds=number + 1), tokens=7)
    who, limits = caller({"requests_month": 100, "tokens_month": 1000}, key_id=key.pk), Limits(link)
    at = now.timestamp()
    (await limits.admit(who, "r1", at=at)).release(tokens=5)
    await until(lambda: not limits._budgets._incomplete)
    requests, tokens = (await limits.look(who)).states()
    in_month = 3 if (now - timedelta(seconds=3)).month == now.month else 0
    assert (requests.used, tokens.used) == (1 + in_month, 5 + 7 * in_month)
    await link.execute("FLUSHALL")
    (await limits.admit(who, "r2", at=at + 1)).release(tokens=5)
    await until(lambda: not limits._budgets._incomplete)
    assert (await limits.look(who)).states()[0].used == 1 + in_month


async def test_earlier_turns_are_counted_once(link, key, monkeypatch):
    """One that was admitted later began earlier: it is in the counter and must not be taken from the ledger too."""
    monkeypatch.setattr("accounts.limits.ledger_budgets.AFTER_SEC", 0.05)
    from asgiref.sync import sync_to_async

    who, limits, now = caller({"requests_month": 100}, key_id=key.pk), Limits(link), timezone.now()
    (await limits.admit(who, "r1", at=now.timestamp())).release()
    earlier = now - timedelta(milliseconds=5)
    (await limits.admit(who, "r2", at=earlier.timestamp())).release()
    await sync_to_async(file)(key, at=earlier)
    await until(lambda: not limits._budgets._incomplete)
    assert (await limits.look(who)).states()[0].used == 2


@pytest.fixture
def used_key(key):
    """A key whose turns of this hour came before its budgets, or before Redis was emptied."""
    key.requests_month, key.tokens_month = 100, 1000
    key.save()
    file(key, at=timezone.now(), tokens=400)
    return key


async def test_look_shows_what_only_the_ledger_knows(link, used_key):
    limits, who = Limits(link), caller({"requests_month": 100, "tokens_month": 1000}, key_id=used_key.pk)
    seen = await limits.look_closely(who)
    assert [(each.used, each.remaining) for each in seen.states()] == [(1, 99), (400, 600)]
    (await limits.admit(who, "r1")).release(tokens=50)
    await limits.settled()
    assert [each.used for each in (await limits.look_closely(who)).states()] == [2, 450]


async def test_look_alone_completes_a_budget_once(link, used_key, monkeypatch):
    monkeypatch.setattr("accounts.limits.ledger_budgets.AFTER_SEC", 0.05)
    doors, who = [Limits(link) for _ in range(3)], caller({"tokens_month": 1000}, key_id=used_key.pk)
    # All at once: while one of them was waited for, another may have completed it.
    seen = await asyncio.gather(*(door.look(who) for door in doors))
    assert [[each.used for each in one.states()] for one in seen] == [[0]] * 3
    await until(lambda: not any(door._budgets._incomplete for door in doors))
    for door in doors:
        assert [each.used for each in (await door.look(who)).states()] == [400]
        assert [each.used for each in (await door.look_closely(who)).states()] == [400]


async def test_used_budget_refuses_after_a_look(link, used_key, monkeypatch):
    monkeypatch.setattr("accounts.limits.ledger_budgets.AFTER_SEC", 0.05)
    limits, who = Limits(link), caller({"tokens_month": 300}, key_id=used_key.pk)
    await limits.look(who)
    await until(lambda: not limits._budgets._incomplete)
    assert (await outcome(limits, who, "r1")).state.spent == 400


async def test_process_alone_learns_from_the_ledger(tmp_path, used_key):
    away = RedisLink(f"unix://{tmp_path / 'nobody.sock'}")
    limits, who = Limits(away), caller({"requests_month": 100, "tokens_month": 300}, key_id=used_key.pk)
    seen = await limits.look_closely(who)
    assert [(each.used, each.remaining) for each in seen.states()] == [(1, 99), (400, 0)]
    refusal = await outcome(limits, who, "r1")
    assert (refusal.state.name, refusal.state.spent) == ("tokens_month", 400)
    await away.close()


async def test_process_alone_again_learns_anew(link, key):
    """Others have spent between two outages, and nobody has asked here with that key."""
    from asgiref.sync import sync_to_async

    limits, who = Limits(link), caller({"tokens_month": 300}, key_id=key.pk)
    limits._breaker.is_open = True
    assert [each.used for each in (await limits.look_closely(who)).states()] == [0]
    limits._breaker.is_open = False
    await limits.look(caller({"tokens_month": 300}, key_id=key.pk + 1))
    await sync_to_async(file)(key, at=timezone.now(), tokens=400)
    limits._breaker.is_open = True
    assert [each.used for each in (await limits.look_closely(who)).states()] == [400]


def test_pages_show_what_only_the_ledger_knows(admin_client, redis_server, settings, used_key):
    settings.REDIS_URL = redis_server
    with redis.Redis.from_url(redis_server) as client:
        client.flushall()
        requests, tokens = standing_of(used_key, limits_for(used_key), client)
    assert (requests.state.used, tokens.state.used, tokens.state.remaining) == (1, 400, 600)
    shown = admin_client.get(f"/api/keys/{used_key.pk}/limits/").json()["limits"]
    assert [each["used"] for each in shown] == [1, 400]
    page = admin_client.get(reverse("admin:accounts_apikey_change", args=[used_key.pk])).content.decode()
    assert re.search(r">400</a>\s*</td>\s*<td[^>]*>\s*600\s*<", page), "used and left"

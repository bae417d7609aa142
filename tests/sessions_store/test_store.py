"""The store that every web process shares, on a real Redis."""

import asyncio
import json
import time

import pytest

from accounts.redis_link import RedisLink
from sessions_store import operators
from sessions_store.fingerprint import fingerprint
from sessions_store.store import Found, SessionStore


def held(client_of_redis):
    return [
        (e.fingerprint, e.session_id, state)
        for e, state in operators.entries(client_of_redis, now=time.time(), limit=99)
    ]


async def test_what_was_remembered_is_found(store, remember):
    await remember("k", "s1", generation=4, hits=2)
    assert await store.claim("k") == Found("s1", "w1-i1", 4, 2, 5.0)


async def test_what_the_session_was_told_of_tools_is_found(store, remember):
    await remember("k", "s1", contract="k3y")
    assert (await store.claim("k")).contract == "k3y"


async def test_an_entry_of_an_earlier_version_was_told_nothing(store, client_of_redis):
    entry = {"session_id": "s1", "instance": "i1", "generation": 1, "hits": 0, "created_at": 5.0}
    client_of_redis.set("lgw:session:k", json.dumps(entry))
    assert (await store.claim("k")) == Found("s1", "i1", 1, 0, 5.0, contract="")


async def test_nothing_is_found_for_an_unknown_prefix(store):
    assert await store.claim("nobody") is None


async def test_of_a_hundred_claims_at_once_exactly_one_wins(store, remember, redis_server):
    await remember("k")
    links = [RedisLink(redis_server) for _ in range(4)]
    stores = [SessionStore(link, ttl=60, max_entries=3) for link in links]
    found = await asyncio.gather(*(stores[i % 4].claim("k") for i in range(100)))
    assert [entry.session_id for entry in found if entry] == ["s1"]
    await asyncio.gather(*(link.close() for link in links))


async def test_a_claimed_session_comes_back_with_the_longer_prefix(store, remember):
    await remember("short")
    await store.claim("short")
    await remember("long", hits=1)
    assert await store.claim("short") is None
    assert (await store.claim("long")).hits == 1


async def test_an_entry_in_use_is_shown_until_its_turn_ends(store, remember, client_of_redis):
    await remember("short")
    await store.claim("short")
    assert held(client_of_redis) == [("short", "s1", "in_use")]
    await remember("long")
    assert held(client_of_redis) == [("long", "s1", "idle")]


async def test_a_dropped_session_is_no_longer_in_use(store, remember, client_of_redis):
    await remember("k")
    await store.claim("k")
    await store.drop("s1")
    assert held(client_of_redis) == []


async def test_an_entry_lives_for_its_time_only(link, remember, client_of_redis):
    await remember("k", store=SessionStore(link, ttl=60, max_entries=3))
    assert 0 < client_of_redis.ttl("lgw:session:k") <= 60


async def test_the_least_recently_used_entry_makes_room(store, remember, client_of_redis):
    for key in "abc":
        await remember(key, f"s-{key}")
    await store.claim("a")
    await remember("a", "s-a")
    await remember("d", "s-d")
    assert {key for key, *_ in held(client_of_redis)} == {"a", "c", "d"}
    assert not client_of_redis.exists("lgw:session:b")


async def test_two_keys_never_share_a_session(store, remember):
    talk = [("user", "Hello"), ("assistant", "Hi")]
    await remember(fingerprint(1, talk), api_key_id=1)
    assert await store.claim(fingerprint(2, talk)) is None


async def test_forgetting_takes_effect_at_once(store, remember, client_of_redis):
    await remember("k")
    assert operators.forget(client_of_redis, [("k", "s1")], ttl=60) == 1
    assert await store.claim("k") is None
    assert held(client_of_redis) == []


async def test_a_session_forgotten_while_in_use_is_not_remembered_again(store, remember, client_of_redis):
    await remember("short")
    await store.claim("short")
    assert operators.forget(client_of_redis, [("short", "s1")], ttl=60) == 1
    await remember("long")
    assert await store.claim("long") is None


async def test_a_session_that_moved_on_before_it_was_forgotten_is_not_handed_out(store, remember, client_of_redis):
    await remember("long")
    operators.forget(client_of_redis, [("short", "s1")], ttl=60)
    assert await store.claim("long") is None


async def test_cleaning_takes_out_what_expired(store, remember, client_of_redis):
    await remember("old", "s1")
    await remember("taken", "s2")
    await store.claim("taken")
    assert operators.clean(client_of_redis, now=time.time() + 1000, ttl=60) == 2
    assert held(client_of_redis) == []


async def test_cleaning_leaves_what_is_alive(store, remember, client_of_redis):
    await remember("k")
    assert operators.clean(client_of_redis, now=time.time(), ttl=60) == 0
    assert held(client_of_redis) == [("k", "s1", "idle")]


async def test_an_unreadable_entry_is_like_none(store, client_of_redis, caplog):
    client_of_redis.set("lgw:session:k", '{"session_id": "s1"}')
    assert await store.claim("k") is None
    assert "could not be read" in caplog.text


@pytest.mark.parametrize("where", ["silent.sock", "gone.sock"])
async def test_without_redis_nothing_is_found_and_nothing_fails(where, silent_redis, remember):
    link = RedisLink(f"unix://{silent_redis / where}", timeout=0.05)
    store = SessionStore(link, ttl=60, max_entries=3)
    async with asyncio.timeout(5):
        assert await store.claim("k") is None
        await remember("k", store=store)
        await store.drop("s1")
    await link.close()

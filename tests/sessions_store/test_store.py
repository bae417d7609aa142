"""The store that every web process shares, on a real Redis."""

import asyncio
import json
import time
from collections import Counter

import pytest

from gateway_project.lib.redis.redis_link import RedisLink
from sessions_store import inspect
from sessions_store.fingerprint import StrictFingerprint
from sessions_store.lua import MOST_ALIKE
from sessions_store.store import Found, SessionContents, SessionStore


def held(client_of_redis):
    return [
        (e.fingerprint, e.session_id, state) for e, state in inspect.entries(client_of_redis, now=time.time(), limit=99)
    ]


async def test_session_that_was_remembered_is_found(store, remember):
    await remember("k", "s1", generation=4, hits=2)
    assert await store.claim("k", 7) == Found("k", "s1", "w1-i1", 4, 2, 5.0)


async def test_session_is_found_by_its_conversation(store, remember):
    knows = SessionContents(
        "m4rk", "t00ls", single=True, json=True, called=True, proven=True, changing_sent="AbCdEf12", late="x", given="y"
    )
    await remember("k", "s1", knows=knows)
    assert (await store.claim("k", 7)).knows == knows


async def test_entry_of_an_earlier_version_is_not_found(store, client_of_redis):
    entry = {"session_id": "s1", "instance": "i1", "generation": 1, "hits": 0, "created_at": 5.0}
    client_of_redis.set("lgw:session:k", json.dumps(entry))
    client_of_redis.zadd("lgw:sessions", {"k": time.time()})
    assert await store.claim("k", 7) is None


async def test_unknown_prefix_has_no_session(store):
    assert await store.claim("nobody", 7) is None


async def test_script_that_the_server_lost_is_sent_again(store, link, remember):
    for number in range(2):
        await link.execute("SCRIPT", "FLUSH")
        await remember(f"k{number}", f"s{number}")
        assert (await store.claim(f"k{number}", 7)).session_id == f"s{number}"


async def test_one_of_a_hundred_claims_wins(store, remember, redis_server):
    await remember("k")
    links = [RedisLink(redis_server, timeout=30) for _ in range(4)]
    stores = [SessionStore(link, ttl=60, max_entries=3) for link in links]
    found = await asyncio.gather(*(stores[i % 4].claim("k", 7) for i in range(100)))
    assert [entry.session_id for entry in found if entry] == ["s1"]
    await asyncio.gather(*(link.close() for link in links))


async def test_equal_sessions_are_kept_and_claimed_once_each(store, remember):
    for number in range(3):
        await remember("k", f"s{number}")
    claimed = [await store.claim("k", 7) for _ in range(4)]
    assert [found and found.session_id for found in claimed] == ["s2", "s1", "s0", None]


async def test_oldest_of_too_many_alike_sessions_goes(link, remember, client_of_redis):
    store = SessionStore(link, ttl=60, max_entries=100)
    for number in range(MOST_ALIKE + 2):
        await remember("k", f"s{number}", store=store)
    assert len(held(client_of_redis)) == MOST_ALIKE
    claimed = [await store.claim("k", 7) for _ in range(MOST_ALIKE + 1)]
    assert [found and found.session_id for found in claimed] == [*(f"s{n}" for n in range(MOST_ALIKE + 1, 1, -1)), None]


async def test_advanced_session_is_found_only_at_its_end(store, remember):
    await remember("short", "other")
    await remember("short", "s1")
    await remember("long", "s1")  # as when the service gives two conversations one session
    assert (await store.claim("short", 7)).session_id == "other"
    assert await store.claim("short", 7) is None
    assert (await store.claim("long", 7)).session_id == "s1"


async def test_advanced_session_outlives_the_oldest(link, remember, client_of_redis):
    store = SessionStore(link, ttl=60, max_entries=100)
    await remember("k", "moved", store=store)
    await remember("elsewhere", "moved", store=store)
    for number in range(MOST_ALIKE):
        await remember("k", f"s{number}", store=store)
    assert (await store.claim("elsewhere", 7)).session_id == "moved"
    assert len(held(client_of_redis)) == MOST_ALIKE + 1


async def test_a_forgotten_session_gives_way_to_another_alike(store, remember, client_of_redis):
    await remember("k", "s1")
    await remember("k", "s2")
    inspect.forget(client_of_redis, ["s2"], ttl=60)
    assert (await store.claim("k", 7)).session_id == "s1"


async def test_claimed_session_returns_with_longer_prefix(store, remember):
    await remember("short")
    await store.claim("short", 7)
    await remember("long", hits=1)
    assert await store.claim("short", 7) is None
    assert (await store.claim("long", 7)).hits == 1


async def test_entry_in_use_is_shown_until_turn_ends(store, remember, client_of_redis):
    client_of_redis.set("lgw:instance:w1-i1", b'{"name": "w1-i1", "generation": 1}')
    await remember("short")
    await store.claim("short", 7)
    assert held(client_of_redis) == [("short", "s1", "in_use")]
    await remember("long")
    assert held(client_of_redis) == [("long", "s1", "idle")]


async def test_a_dropped_session_is_no_longer_in_use(store, remember, client_of_redis):
    await remember("k")
    await store.claim("k", 7)
    await store.drop("s1")
    assert held(client_of_redis) == []


async def test_an_entry_lives_for_its_time_only(link, remember, client_of_redis):
    await remember("k", store=SessionStore(link, ttl=60, max_entries=3))
    assert 0 < client_of_redis.ttl("lgw:session:s1") <= 60
    assert 0 < client_of_redis.ttl("lgw:sessions:at:k") <= 60


async def test_the_least_recently_used_entry_makes_room(store, remember, client_of_redis):
    for key in "abc":
        await remember(key, f"s-{key}")
    await store.claim("a", 7)
    await remember("a", "s-a")
    await remember("d", "s-d")
    assert {key for key, *_ in held(client_of_redis)} == {"a", "c", "d"}
    assert not client_of_redis.exists("lgw:session:s-b")


def held_by(client_of_redis):
    entries = inspect.entries(client_of_redis, now=time.time(), limit=99)
    return Counter(entry.api_key_id for entry, _ in entries)


@pytest.fixture
def five(link):
    return SessionStore(link, ttl=60, max_entries=5)


async def test_key_with_most_sessions_makes_room(five, remember, client_of_redis):
    for number in range(3):
        await remember(f"hers{number}", f"hers{number}", store=five, api_key_id=1)
    for number in range(40):
        await remember(f"his{number}", f"his{number}", store=five, api_key_id=2)
    assert held_by(client_of_redis) == {1: 3, 2: 2}
    assert [await five.claim(f"his{number}", 2) is not None for number in (37, 38, 39)] == [False, True, True]
    assert [await five.claim(f"hers{number}", 1) is not None for number in range(3)] == [True] * 3


async def test_keys_with_one_session_go_by_age(five, remember, client_of_redis):
    for key in (1, 9, 3, 8, 5, 4):
        await remember(f"k{key}", f"s{key}", store=five, api_key_id=key)
    assert sorted(held_by(client_of_redis)) == [3, 4, 5, 8, 9]
    assert [*client_of_redis.zrange("lgw:sessions:keys", 0, -1)] == [b"3", b"4", b"5", b"8", b"9"]


async def test_sessions_in_use_take_no_room(five, remember, client_of_redis):
    for number in range(4):
        await remember(f"k{number}", f"s{number}", store=five, api_key_id=2)
        assert await five.claim(f"k{number}", 2)
    assert client_of_redis.zcard("lgw:sessions:keys") == 0
    for number in range(4):
        await remember(f"more{number}", f"more{number}", store=five, api_key_id=1 + number % 2)
    assert client_of_redis.zrange("lgw:sessions:keys", 0, -1, withscores=True) == [(b"1", 2), (b"2", 2)]


async def test_clock_set_back_leaves_room(five, link, remember, client_of_redis):
    ahead = SessionStore(link, ttl=60, max_entries=5, clock=lambda: time.time() + 86_400)
    for number in range(5):
        await remember(f"a{number}", f"a{number}", store=ahead, api_key_id=2)
        client_of_redis.delete(f"lgw:session:a{number}")  # its time is over
    for number in range(4):
        await remember(f"k{number}", f"k{number}", store=five, api_key_id=2)
    assert [await five.claim(f"k{number}", 2) is not None for number in range(4)] == [True] * 4


async def test_expired_sessions_count_for_nobody(link, remember, client_of_redis):
    past = SessionStore(link, ttl=60, max_entries=5, clock=lambda: time.time() - 50)
    for number in range(4):
        await remember(f"k{number}", f"s{number}", store=past, api_key_id=2)
    now = SessionStore(link, ttl=40, max_entries=2)
    for number in range(4):
        await remember(f"n{number}", f"n{number}", store=now, api_key_id=1 + number // 3)
    assert held_by(client_of_redis) == {1: 1, 2: 1}


async def test_entries_without_account_of_keys_give_way(five, remember, client_of_redis):
    for number in range(5):
        await remember(f"k{number}", f"s{number}", store=five, api_key_id=2)
    client_of_redis.delete("lgw:sessions:keys", "lgw:sessions:of:2")  # as an earlier version left them
    assert (await five.claim("k4", 2)).session_id == "s4"
    for number in range(3):
        await remember(f"n{number}", f"n{number}", store=five, api_key_id=1)
    assert {session for _, session, _ in held(client_of_redis)} >= {"n1", "n2"}
    assert sum(held_by(client_of_redis).values()) == 6  # five, and the one in use


async def test_accounts_of_keys_end_with_their_sessions(five, remember, client_of_redis):
    for number in range(3):
        await remember(f"k{number}", f"s{number}", store=five, api_key_id=number)
    inspect.forget(client_of_redis, ["s0"], ttl=60)
    assert client_of_redis.zrange("lgw:sessions:keys", 0, -1) == [b"1", b"2"]
    assert 0 < client_of_redis.ttl("lgw:sessions:of:1") < 70
    inspect.clean(client_of_redis, now=time.time() + 1000, ttl=60)
    assert client_of_redis.keys("lgw:sessions:of:*") == client_of_redis.keys("lgw:sessions:keys") == []


SETS = ("lgw:sessions", "lgw:sessions:of:7", "lgw:sessions:keys")


async def test_sets_live_as_long_as_their_sessions(link, remember, client_of_redis):
    now = time.time()
    store = SessionStore(link, ttl=60, max_entries=100, clock=lambda: now)
    for number in range(20):  # seven seconds: tidied twice
        await remember(f"k{number}", f"s{number}", store=store, is_new=True)
        now += 0.35
        assert all(client_of_redis.ttl(each) >= 60 for each in SETS)


async def test_sets_that_were_lost_end_again(five, remember, client_of_redis):
    await remember("k1", "s1", store=five)
    client_of_redis.delete(*SETS)
    await remember("k2", "s2", store=five)
    assert all(0 < client_of_redis.ttl(each) < 70 for each in SETS)


async def test_room_is_made_for_a_few_at_once(link, remember, client_of_redis):
    store = SessionStore(link, ttl=60, max_entries=64)
    for number in range(80):
        await remember(f"k{number}", f"s{number}", store=store, is_new=True)
        assert min(number + 1, 62) <= client_of_redis.zcard("lgw:sessions") <= 64
    assert len(held(client_of_redis)) == len(client_of_redis.keys("lgw:session:*"))
    assert [await store.claim(f"k{number}", 7) is not None for number in (15, 18, 79)] == [False, True, True]


async def test_room_leaves_the_largest_keys_equal(link, remember, client_of_redis):
    for number in range(30):
        await remember(f"k{number}", f"s{number}", store=SessionStore(link, ttl=60, max_entries=30), api_key_id=8)
    for number in range(10):
        many = SessionStore(link, ttl=60, max_entries=100)
        await remember(f"h{number}", f"h{number}", store=many, api_key_id=9)
    few = SessionStore(link, ttl=60, max_entries=16)
    await remember("last", "last", store=few, api_key_id=1)
    assert held_by(client_of_redis) == {8: 8, 9: 7, 1: 1}
    assert client_of_redis.zrange("lgw:sessions:keys", 0, -1, withscores=True) == [(b"1", 1), (b"9", 7), (b"8", 8)]


async def test_two_keys_never_share_a_session(store, remember):
    await remember(StrictFingerprint(1).feed("user", "Hello").hexdigest(), api_key_id=1)
    assert await store.claim(StrictFingerprint(2).feed("user", "Hello").hexdigest(), 2) is None


async def test_forgotten_session_is_gone_at_once(store, remember, client_of_redis):
    await remember("k")
    assert inspect.forget(client_of_redis, ["s1"], ttl=60) == 1
    assert await store.claim("k", 7) is None
    assert held(client_of_redis) == []


async def test_session_forgotten_in_use_stays_forgotten(store, remember, client_of_redis):
    await remember("short")
    await store.claim("short", 7)
    assert inspect.forget(client_of_redis, ["s1"], ttl=60) == 1
    await remember("long")
    assert await store.claim("long", 7) is None


async def test_advanced_then_forgotten_session_is_not_handed_out(store, remember, client_of_redis):
    await remember("long")
    inspect.forget(client_of_redis, ["s1"], ttl=60)
    assert await store.claim("long", 7) is None


async def test_expired_sessions_are_cleaned_out(store, remember, client_of_redis):
    await remember("old", "s1")
    await remember("taken", "s2")
    await store.claim("taken", 7)
    assert inspect.clean(client_of_redis, now=time.time() + 1000, ttl=60) == 2
    assert held(client_of_redis) == []


async def test_live_sessions_survive_the_cleaning(store, remember, client_of_redis):
    client_of_redis.set("lgw:instance:w1-i1", b'{"name": "w1-i1", "generation": 1}')
    await remember("k")
    assert inspect.clean(client_of_redis, now=time.time(), ttl=60) == 0
    assert held(client_of_redis) == [("k", "s1", "idle")]


async def test_an_unreadable_entry_is_like_none(store, client_of_redis, caplog):
    client_of_redis.set("lgw:session:s1", '{"fingerprint":"k"}')
    client_of_redis.rpush("lgw:sessions:at:k", "s1")
    assert await store.claim("k", 7) is None
    assert "could not be read" in caplog.text


@pytest.mark.parametrize("where", ["silent.sock", "gone.sock"])
async def test_store_without_redis_finds_nothing_nor_raises(where, silent_redis, remember):
    link = RedisLink(f"unix://{silent_redis / where}", timeout=0.05)
    store = SessionStore(link, ttl=60, max_entries=3)
    async with asyncio.timeout(30):
        assert await store.claim("k", 7) is None
        await remember("k", store=store)
        await store.drop("s1")
    await link.close()

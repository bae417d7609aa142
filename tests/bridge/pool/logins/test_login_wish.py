"""Which login is wanted, and its files from the store."""

from bridge.logins.bundle import Bundle
from bridge.pool.logins import login_wish
from bridge.pool.logins.login_store import Delivery
from bridge.pool.logins.login_wish import LoginWish
from bridge.status.logins import WantedLogin

WANTED = WantedLogin(7, 2)


class Store:
    """Has these files, or cannot read them."""

    def __init__(self, found):
        self.found, self.asked = found, []

    async def deliver(self, login):
        self.asked.append(login)
        return self.found


def delivery(generation):
    return Delivery(7, generation, Bundle({}))


async def test_files_are_fetched_once_until_used():
    wish, store = LoginWish(), Store(delivery(2))
    assert await wish.files(store, WANTED) is await wish.files(store, WANTED) is store.found
    assert (store.asked, wish.has_files(WANTED)) == ([7], True)
    wish.files_used()
    assert not wish.has_files(WANTED)
    await wish.files(store, WANTED)
    assert store.asked == [7, 7]


async def test_older_files_are_not_at_hand():
    wish, store = LoginWish(), Store(delivery(2))
    await wish.files(store, WANTED)
    assert not wish.has_files(WantedLogin(7, 3))
    assert not wish.has_files(WantedLogin(8, 1))


async def test_unreadable_files_are_left_alone_first(monkeypatch):
    wish, store = LoginWish(), Store(None)
    assert [await wish.files(store, WANTED) for _ in range(3)] == [None, None, None]
    assert store.asked == [7]
    await wish.files(store, WantedLogin(7, 3))  # another generation may be readable
    assert store.asked == [7, 7]
    monkeypatch.setattr(login_wish, "AGAIN_SEC", 0.0)
    other = LoginWish()
    await other.files(store, WANTED)
    await other.files(store, WANTED)
    assert store.asked == [7] * 4


async def test_successor_wants_the_same_without_fetching():
    before, store, wish = LoginWish(), Store(delivery(2)), LoginWish()
    before.want(WANTED)
    await before.files(store, WANTED)
    wish.succeed(before)
    assert (wish.login, wish.is_known.is_set()) == (WANTED, True)
    assert await wish.files(None, WANTED) is store.found

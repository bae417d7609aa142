"""Django's pages: few at work at once, in turns by address, and no thread for those who wait or read slowly."""

import asyncio

import pytest

from gateway_project.server import pages
from gateway_project.server.pages import (
    AT_ONCE,
    LONG_AT_ONCE,
    LONG_OF_ADDRESS,
    MOST_HELD,
    UNAUTHENTICATED_AT_ONCE,
    Pages,
)  # fmt: skip

SESSION = [(b"cookie", b"theme=dark; sessionid=abc")]


class Page:
    """Django, which works on each request until it is told to answer."""

    def __init__(self):
        self.at_work = []
        self.answer = asyncio.Event()
        self.body = b"page"

    async def __call__(self, scope, receive, send):
        self.at_work.append(scope["client"][0])
        self.headers = scope["headers"]
        self.read = (await receive())["body"]
        await self.answer.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": self.body})


class Client:
    def __init__(self, address, headers=(), method="GET", path="/admin/"):
        self.scope = {"client": (address, 1), "headers": list(headers), "method": method, "path": path}
        self.sent = []
        self.left = asyncio.Event()
        self.reads = asyncio.Event()
        self.reads.set()
        self._first = True

    async def receive(self):
        if self._first:
            self._first = False
            return {"type": "http.request", "body": b"form", "more_body": False}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message):
        await self.reads.wait()
        self.sent.append(message)

    def ask(self, application):
        return asyncio.create_task(application(self.scope, self.receive, self.send))

    @property
    def status(self):
        return self.sent[0]["status"]


async def settle():
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture
def page():
    return Page()


@pytest.mark.parametrize(
    ("headers", "method", "path", "most"),
    [
        ([], "GET", "/admin/", UNAUTHENTICATED_AT_ONCE),
        ([(b"cookie", b"csrftoken=a")], "POST", "/admin/login/", UNAUTHENTICATED_AT_ONCE),
        (SESSION, "POST", "/admin/login/", UNAUTHENTICATED_AT_ONCE),
        (SESSION, "GET", "/admin/", AT_ONCE),
        ([(b"authorization", b"Token abc")], "GET", "/api/keys/", AT_ONCE),
        ([(b"authorization", b"Basic abc")], "GET", "/api/keys/", UNAUTHENTICATED_AT_ONCE),
    ],
)
async def test_few_pages_are_at_work_at_once(page, headers, method, path, most):
    application = Pages(page)
    clients = [Client(f"10.0.0.{number}", headers, method, path) for number in range(10)]
    asked = [client.ask(application) for client in clients]
    await settle()
    assert len(page.at_work) == most
    page.answer.set()
    await asyncio.wait_for(asyncio.gather(*asked), 30)
    assert [client.status for client in clients] == [200] * 10
    assert page.read == b"form"


async def test_unauthenticated_leave_room_for_sessions(page):
    application = Pages(page)
    crowd = [Client("6.6.6.6").ask(application) for _ in range(50)]
    await settle()
    member = Client("10.0.0.1", SESSION).ask(application)
    await settle()
    assert page.at_work == ["6.6.6.6", "10.0.0.1"]
    page.answer.set()
    await asyncio.wait_for(asyncio.gather(member, *crowd), 30)


async def test_addresses_take_turns():
    order = []

    async def django(scope, receive, send):
        order.append(scope["client"][0])
        await asyncio.sleep(0)

    application = Pages(django)
    await asyncio.wait_for(asyncio.gather(*(Client(address).ask(application) for address in "aaaaabbc")), 30)
    assert order == list("abcabaaa")


async def test_ipv6_addresses_of_one_network_share_a_turn():
    order = []

    async def django(scope, receive, send):
        order.append(scope["client"][0])
        await asyncio.sleep(0)

    application = Pages(django)
    addresses = ["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8::4", "2001:db8:0:1::1", "::ffff:10.0.0.1"]
    await asyncio.wait_for(asyncio.gather(*(Client(address).ask(application) for address in addresses)), 30)
    assert order[:3] == ["2001:db8::1", "2001:db8:0:1::1", "::ffff:10.0.0.1"]


async def test_one_address_fills_half_of_the_queue(page, monkeypatch):
    monkeypatch.setattr(pages, "MOST_WAITING", 4)
    application = Pages(page)
    clients = [Client(address) for address in "aaaabbb"]
    asked = [client.ask(application) for client in clients]
    await settle()
    assert [task.done() for task in asked] == [False, False, False, True, False, False, True]
    page.answer.set()
    await asyncio.wait_for(asyncio.gather(*asked), 30)
    assert [client.status for client in clients] == [200, 200, 200, 503, 200, 200, 503]


async def test_late_turn_is_503(page, monkeypatch):
    monkeypatch.setattr(pages, "WAIT_SEC", 0.01)
    application = Pages(page)
    first = Client("a").ask(application)
    await settle()
    second = Client("b")
    await asyncio.wait_for(second.ask(application), 30)
    assert second.status == 503
    assert (b"retry-after", b"5") in second.sent[0]["headers"]
    page.answer.set()
    await asyncio.wait_for(first, 30)


async def test_client_that_leaves_gets_no_turn(page):
    application = Pages(page)
    first, second = Client("a").ask(application), Client("b")
    waiting = second.ask(application)
    await settle()
    second.left.set()
    await asyncio.wait_for(waiting, 30)
    page.answer.set()
    await asyncio.wait_for(first, 30)
    assert page.at_work == ["a"]
    assert second.sent == []


@pytest.mark.parametrize("size", [1000, MOST_HELD + 1])
async def test_slow_reader_holds_no_turn(page, size):
    application = Pages(page)
    page.body = b"a" * size
    page.answer.set()
    slow = [Client("a", SESSION) for _ in range(LONG_OF_ADDRESS)]
    for client in slow:
        client.reads.clear()
    reading = [client.ask(application) for client in slow]
    await settle()
    page.body = b"short"
    other = Client("a", SESSION)
    await asyncio.wait_for(other.ask(application), 30)
    assert other.status == 200
    for client in slow:
        client.reads.set()
    await asyncio.wait_for(asyncio.gather(*reading), 30)
    assert [len(client.sent[1]["body"]) for client in slow] == [size] * len(slow)
    assert application._held == 0


async def test_long_answers_are_few_at_once(page, monkeypatch):
    monkeypatch.setattr(pages, "WAIT_SEC", 0.01)
    monkeypatch.setattr(pages, "AT_ONCE", 6)  # so that nobody waits, and gives up, before the line for long answers
    application = Pages(page)
    page.body = b"a" * (MOST_HELD + 1)
    page.answer.set()
    clients = [Client(address, SESSION) for address in "aaabbc"]
    for client in clients:
        client.reads.clear()
    reading = [client.ask(application) for client in clients]
    await settle()
    await asyncio.sleep(0.1)
    for client in clients:
        client.reads.set()
    await asyncio.wait_for(asyncio.gather(*reading), 30)
    assert sorted(client.status for client in clients) == [200] * LONG_AT_ONCE + [503] * (6 - LONG_AT_ONCE)
    assert application._held == 0


async def test_pages_get_no_cookies_with_escapes(page):
    page.answer.set()
    cookies = b'theme="' + rb"\"" * 30_000 + b'"; sessionid=abc; lgw_zone=UTC'
    client = Client("a", [(b"x-word", rb"a\"b"), (b"cookie", cookies), (b"cookie", rb"a=\b")])
    await client.ask(Pages(page))
    assert page.headers == [(b"x-word", rb"a\"b"), (b"cookie", b" sessionid=abc; lgw_zone=UTC"), (b"cookie", b"")]
    assert client.status == 200

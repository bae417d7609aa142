"""Bodies for Django are bounded before they are spooled."""

import asyncio
from itertools import chain

import pytest

from gateway_project.server.bodies import MOST, MOST_TOGETHER, BoundedBodies


class Client:
    """Sends these parts; keeps what it is told."""

    def __init__(self, *parts, announced=None, address="10.0.0.1"):
        self.parts = list(parts)
        self.asked = 0
        self.told = []
        length = [] if announced is None else [(b"content-length", b"%d" % announced)]
        self.scope = {"type": "http", "path": "/admin/", "headers": length, "client": (address, 1)}

    async def receive(self):
        self.asked += 1
        return {"type": "http.request", "body": self.parts.pop(0), "more_body": bool(self.parts)}

    async def send(self, message):
        self.told.append(message)

    async def ask(self, application):
        await application(self.scope, self.receive, self.send)
        return self

    @property
    def statuses(self):
        return [message["status"] for message in self.told if message["type"] == "http.response.start"]


async def django(_scope, receive, send):
    """Reads it all, as Django does; says nothing to a client that has left."""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        if not message["more_body"]:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            return


@pytest.fixture
def application():
    return BoundedBodies(django)


async def test_a_form_passes(application):
    assert (await Client(b"a" * 1000, b"b").ask(application)).statuses == [200]


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        (b"application/json; charset=UTF-8", 200),
        (b'multipart/form-data; charset="utf-8"; boundary=----a', 200),
        (b"text/html; charset*=utf-8'en'utf-8", 200),
        (b";" * 257, 400),
        (b"text/html; charset*=x'en'y", 400),
        (b"application/x-www-form-urlencoded; charset=rot13", 415),
        (b"multipart/form-data; boundary=a; charset=undefined", 415),
        (b"application/x-www-form-urlencoded; charset=utf-16", 415),
    ],
)
async def test_types_django_does_not_read_are_refused(application, content_type, status):
    client = Client(b"key=a")
    client.scope["headers"] = [(b"content-type", content_type)]
    await client.ask(application)
    assert (client.statuses, client.asked) == ([status], int(status == 200))


async def test_a_body_that_grows_too_large_is_413(application):
    client = await Client(*[b"a" * 65536] * 1000).ask(application)
    assert client.statuses == [413]
    assert client.asked == MOST // 65536 + 1


class Half(Client):
    """Sends the first part, and then nothing."""

    async def receive(self):
        if self.asked:
            await asyncio.Event().wait()
        return await super().receive()


async def test_few_addresses_leave_room_for_a_form(application):
    part = b"a" * (1 << 20)
    half_sent = [[Half(part, b"", address=address) for _ in range(16)] for address in ("10.0.0.1", "10.0.0.2")]
    asked = [asyncio.create_task(client.ask(application)) for client in chain(*half_sent)]
    await asyncio.sleep(0.01)
    assert [sum(client.statuses == [] for client in clients) for clients in half_sent] == [16, 8]
    assert (await Client(b"form", address="10.0.0.3").ask(application)).statuses == [200]
    for task in asked:
        task.cancel()
    await asyncio.wait(asked)


async def test_declared_large_body_is_not_read(application):
    client = await Client(b"a", announced=MOST + 1).ask(application)
    assert (client.statuses, client.asked) == ([413], 0)


@pytest.mark.parametrize(
    ("addresses", "most"),
    [
        ([f"10.0.0.{number}" for number in range(100)], MOST_TOGETHER // MOST - 1),
        (["10.0.0.1"], MOST_TOGETHER // 2 // MOST),
        ([f"2001:db8::{number}" for number in range(100)], MOST_TOGETHER // 2 // MOST),
    ],
    ids=["many", "one", "one network"],
)
async def test_bodies_together_are_bounded(addresses, most):
    clients = []

    async def slow(scope, receive, send):
        await receive()
        if len(clients) < most + 2:
            await another()
        await django(scope, receive, send)

    async def another():
        client = Client(b"a" * MOST, b"", address=addresses[len(clients) % len(addresses)])
        clients.append(client)
        await client.ask(bounded)

    bounded = BoundedBodies(slow)
    await another()
    statuses = [client.statuses for client in clients]
    assert statuses.count([503]) == 2
    assert statuses.count([200]) == most
    assert (await Client(b"a").ask(BoundedBodies(django))).statuses == [200]

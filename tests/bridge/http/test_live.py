"""The WebSocket of the live page: who may watch, and until when."""

import asyncio

import msgspec
import pytest
from allauth.mfa.models import Authenticator
from asgiref.sync import sync_to_async
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import Permission
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.db import OperationalError
from django.test import Client

from bridge.fleet.live_view import live_view
from bridge.http import live
from bridge.http.live import LiveSocket
from bridge.http.live_feed import LiveFeed, Snapshot
from bridge.status.live import LiveReport, LiveTurn

pytestmark = pytest.mark.django_db(transaction=True)
SITE = (b"origin", b"https://gateway.example")
HOST = (b"host", b"gateway.example")


async def snapshot():
    turn = LiveTurn("req_1", 7, "alice", "m", "curl", 1.0)
    return Snapshot(live_view([LiveReport("web-1", 1, 1.0, [], 1, 0, turns=[turn])], [], [], 1.0))


@pytest.fixture
def people(django_user_model):
    """The headers of three sessions, and what their users are."""
    found = {}
    for name in ("watcher", "staff", "member"):
        user = django_user_model.objects.create_user(name, is_staff=name != "member")
        if name != "staff":
            user.user_permissions.add(Permission.objects.get(codename="view_instance"))
        client = Client()
        client.force_login(user)
        found[name] = user, (b"cookie", f"a=b; sessionid={client.cookies['sessionid'].value}".encode())
    return found


@pytest.fixture
def socket():
    def socket(*headers, open_session=SessionStore, **options):
        application = LiveSocket("sessionid", open_session, **options)
        application._feed = LiveFeed(snapshot, every_sec=0.01)
        return WebsocketCommunicator(application, live.PATH, headers=list(headers))

    return socket


async def test_staff_with_the_right_gets_snapshots(socket, people):
    communicator = socket(SITE, HOST, people["watcher"][1])
    assert (await communicator.connect(10))[0]
    found = msgspec.json.decode(await communicator.receive_from(10))
    assert (found["at"], found["in_flight"]) == (1.0, 1)
    await communicator.disconnect(timeout=10)


async def test_session_is_found_among_cookies_of_others(socket, people):
    escapes = (b"cookie", b'theme="' + rb"\"" * 30_000 + b'"; {"consent": "all"}=1')
    communicator = socket(SITE, HOST, escapes, people["watcher"][1])
    assert (await communicator.connect(10))[0]
    await communicator.disconnect(timeout=10)


@pytest.mark.parametrize("sees", [False, True])
async def test_names_of_running_keys_need_more_rights(socket, people, sees):
    user, cookie = people["watcher"]
    if sees:
        rights = Permission.objects.filter(codename__in=["view_usage", "view_login"])
        await sync_to_async(lambda: user.user_permissions.add(*rights))()
    communicator = socket(SITE, HOST, cookie)
    assert (await communicator.connect(10))[0]
    assert ("alice" in await communicator.receive_from(10)) is sees
    await communicator.disconnect(timeout=10)


@pytest.mark.parametrize(
    ("who", "headers"),
    [
        (None, [SITE, HOST]),
        ("staff", [SITE, HOST]),
        ("member", [SITE, HOST]),
        ("watcher", [(b"origin", b"https://evil.example"), HOST]),
        ("watcher", [(b"origin", b"http://["), HOST]),
        ("watcher", [HOST]),
    ],
    ids=["nobody", "no right", "no staff", "another site", "no address", "no origin"],
)
async def test_strangers_and_other_sites_are_refused(socket, people, who, headers):
    communicator = socket(*headers, *([people[who][1]] if who else []))
    assert await communicator.connect(10) == (False, live.FORBIDDEN)


@pytest.mark.parametrize("lost", ["right", "session", "account"])
async def test_watcher_without_rights_any_more_is_closed(socket, people, lost):
    user, cookie = people["watcher"]
    communicator = socket(SITE, HOST, cookie, check_sec=0.05)
    assert (await communicator.connect(10))[0]
    await sync_to_async(lose)(user, lost)
    while (event := await communicator.receive_output(10))["type"] == "websocket.send":
        pass
    assert event == {"type": "websocket.close", "code": live.ENDED}
    await communicator.wait(10)


async def test_watcher_comes_back_after_the_database(socket, people):
    away = False

    def open_session(key):
        if away:
            raise OperationalError
        return SessionStore(key)

    communicator = socket(SITE, HOST, people["watcher"][1], open_session=open_session, check_sec=0.05)
    assert (await communicator.connect(10))[0]
    away = True
    while (event := await communicator.receive_output(10))["type"] == "websocket.send":
        pass
    # Not that of a session that has ended: the page would be loaded anew, which takes a database.
    assert event == {"type": "websocket.close", "code": live.AWAY}
    assert live.AWAY != live.ENDED
    await communicator.wait(10)


def lose(user, what):
    if what == "right":
        user.user_permissions.clear()
    elif what == "session":
        Session.objects.all().delete()
    else:
        user.is_active = False
        user.save()


@pytest.fixture
def factor_required(settings):
    settings.ENV = settings.ENV.model_copy(update={"staff_mfa_required": True})


@pytest.mark.parametrize("kind", [None, Authenticator.Type.RECOVERY_CODES])
async def test_staff_without_required_factor_is_refused(socket, people, factor_required, kind):
    user, cookie = people["watcher"]
    if kind:  # codes for recovery are none by themselves
        await Authenticator.objects.acreate(user=user, type=kind, data={})
    assert await socket(SITE, HOST, cookie).connect(10) == (False, live.FORBIDDEN)


async def test_watcher_who_loses_required_factor_is_closed(socket, people, factor_required):
    user, cookie = people["watcher"]
    factor = await Authenticator.objects.acreate(user=user, type=Authenticator.Type.TOTP, data={})
    communicator = socket(SITE, HOST, cookie, check_sec=0.05)
    assert (await communicator.connect(10))[0]
    await factor.adelete()
    while (event := await communicator.receive_output(10))["type"] == "websocket.send":
        pass
    assert event == {"type": "websocket.close", "code": live.ENDED}
    await communicator.wait(10)


async def test_client_that_speaks_is_closed(socket, people):
    communicator = socket(SITE, HOST, people["watcher"][1])
    assert (await communicator.connect(10))[0]
    await communicator.send_to("hello")
    await communicator.wait(10)
    assert communicator.future.done()


async def test_watcher_that_takes_no_snapshot_is_dropped(people):
    application = LiveSocket("sessionid", SessionStore, send_sec=0.05)
    application._feed = LiveFeed(snapshot, every_sec=0.01)
    said, never = [], asyncio.Event()

    async def receive():
        if said:
            await never.wait()
        return {"type": "websocket.connect"}

    async def send(message):
        said.append(message)
        if message["type"] == "websocket.send":
            await never.wait()

    async with asyncio.timeout(30):
        await application({"headers": [SITE, HOST, people["watcher"][1]]}, receive, send)
    assert said[-1] == {"type": "websocket.close", "code": live.SLOW}
    assert application._feed.watching == 0

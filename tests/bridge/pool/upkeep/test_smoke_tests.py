"""Short chats by order: once for each, and only what was asked for since."""

import asyncio
import json
import time

import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone

from accounts.models import Alert
from bridge.fleet import mirror
from bridge.pool.instances.orders import Order
from bridge.pool.upkeep.smoke import QUESTION
from bridge.status.smoke import Behaviour
from bridge.status.wanted import Mode
from tests.bridge.lingma.service import Service, answer, finish
from tests.bridge.pools import attached, running, simulator, until


async def pong(peer, params):
    await peer.push(answer("pong", params["requestId"]), finish(params["requestId"]))


async def fail(peer, params):
    await peer.push(finish(params["requestId"], code=500))


async def asked(pool, at, **more):
    """What the status says once the order is obeyed."""
    before = pool.instances[0].smokes.last
    pool.upkeep.obey({"w1-i1": Order(smoke_at=at, **more)})
    await until(pool, lambda: pool.instances[0].smokes.last is not before)
    return pool.statuses()[0].smoke


async def test_order_is_one_question():
    async with Service(on_ask=pong) as service, running(attached(service)) as pool:
        began, at = time.time(), time.time() + 1
        report = await asked(pool, at)
        assert (report.ok, report.error, report.failed) == (True, "", 0)
        assert report.at >= began
        pool.upkeep.obey({"w1-i1": Order(smoke_at=at)})
        pool.upkeep.obey({"w1-i1": Order(smoke_at=1.0)})
        await asyncio.sleep(0)
        assert [each["questionText"] for each in service.asks()] == [QUESTION]


async def test_failures_in_a_row_are_counted():
    async with Service(on_ask=fail) as service, running(attached(service)) as pool:
        first = await asked(pool, time.time() + 1)
        second = await asked(pool, time.time() + 2)
        assert [first.failed, second.failed] == [1, 2]
        assert "code 500" in second.error
        service.on_ask = pong
        third = await asked(pool, time.time() + 3)
        assert (third.ok, third.failed) == (True, 0)


@pytest.mark.parametrize(
    ("pushes", "behaviour"),
    [
        (lambda id_: [answer("Pong.", id_), finish(id_)], Behaviour.AS_ASKED),
        (lambda id_: [answer("Hello!", id_), finish(id_)], Behaviour.OTHER_WORDS),
        (lambda id_: [("chat/novelty", {}), answer("pong", id_), finish(id_)],
         Behaviour.UNKNOWN_MESSAGES),
        (lambda id_: [finish(id_)], Behaviour.SILENT),
        (lambda id_: [finish(id_, code=500)], Behaviour.FAILS),
        (lambda id_: [finish(id_, code=429)], Behaviour.UNKNOWN),
    ],
    ids=["as asked", "other words", "unknown messages", "silent", "fails", "busy"],
)  # fmt: skip
async def test_report_says_what_the_service_did(pushes, behaviour):
    async def reply(peer, params):
        await peer.push(*pushes(params["requestId"]))

    async with Service(on_ask=reply) as service, running(attached(service)) as pool:
        report = await asked(pool, time.time() + 1)
        assert (report.behaviour, report.version) == (behaviour, pool.statuses()[0].version)


@pytest.mark.django_db(transaction=True)
async def test_simulator_that_behaves_otherwise_is_drift(tmp_path):
    async with running([simulator(tmp_path, "--login=auto", "--first-ms=0")]) as pool:
        at, raised = time.time(), []
        for text in ("pong", "I am another model.", "I am another model."):
            (tmp_path / "simulator.json").write_text(json.dumps({"text": text}))
            at += 1
            await asked(pool, at)
            await sync_to_async(mirror.record)(pool.statuses(), timezone.now())
            raised.append([facts async for facts in Alert.objects.values_list("facts", flat=True)])
    version = pool.statuses()[0].version
    told = f"w1-i1: {version}: answers as asked → answers with other words"
    assert raised == [[], [], [[told]]]


async def test_stopped_instance_is_not_asked():
    async with Service(on_ask=pong) as service, running(attached(service)) as pool:
        pool.upkeep.obey({"w1-i1": Order(mode=Mode.STOP, smoke_at=time.time() + 1)})
        await until(pool, lambda: pool.instances[0].state == "stopped")
        assert pool.instances[0].smokes.last is None
        assert service.asks() == []

"""Processes that lend each other places, over real sockets and scripted services."""

import asyncio
import socket
import stat
from contextlib import AsyncExitStack

import msgspec
import pytest

from bridge.chat.errors import ConnectionLost, NoPlan, Overloaded, SlowClient
from bridge.lingma.dialects.base import Ask
from bridge.lingma.errors import UploadFailed
from bridge.pool.instances.orders import Order
from bridge.pool.instances.runs import Exit
from bridge.pool.late_usages import Awaited
from bridge.pool.options import InstanceOptions, PoolOptions
from bridge.pool.policy import Line, Owner
from bridge.siblings import siblings
from bridge.siblings.messages import Demand
from bridge.siblings.siblings import Siblings
from bridge.status.wanted import Mode
from gateway_project.lib.processes.unix_sockets import socket_path
from tests.bridge.chats import replying, say
from tests.bridge.lingma.conftest import ended
from tests.bridge.lingma.service import Service
from tests.bridge.lingma.test_log_tail import line
from tests.bridge.pools import attached, running, until
from tests.bridge.turn.test_engine_images import refuse, take

ALICE, BOB = Owner(1), Owner(2)
SOON = 10


def ask(number):
    return Ask(f"r{number}", f"s{number}", "hello", "org_auto")


@pytest.fixture
async def join(tmp_path):
    """Starts processes of one gateway, each over a service of its own, that know each other."""
    async with AsyncExitStack() as stack:

        async def join(*on_asks, most=1, waiting=256, silence=30.0, logs=True):
            pools, options = [], PoolOptions(most, waiting, 5.0)
            for number, on_ask in enumerate(on_asks, 1):
                service = await stack.enter_async_context(Service(on_ask=on_ask))
                instances, work_dir = InstanceOptions(limit=most), tmp_path / f"service-{number}"
                found = [attached_at(service, work_dir)] if logs else attached(service)
                pool = await stack.enter_async_context(running(found, options, instances, process=number))
                pool.service = service
                pool.siblings = Siblings(pool, number, len(on_asks), tmp_path, silence)
                pool.following = asyncio.create_task(pool.siblings.follow())
                stack.push_async_callback(end, pool.following)
                pools.append(pool)
            for pool in pools:
                await until(pool, lambda pool=pool: len(pool.siblings.statuses()) == len(on_asks) - 1)
            return pools

        yield join


def attached_at(service, work_dir):
    """Found by its work dir, in which it keeps a log."""
    (work_dir / "logs").mkdir(parents=True)
    (work_dir / "logs" / "lingma.log").touch()
    (work_dir / ".info.json").write_text(f'{{"websocketPort": {service.port}}}')
    return msgspec.structs.replace(attached(service)[0], attach=str(work_dir))


async def end(task):
    task.cancel()
    await asyncio.wait({task})


async def eventually(condition):
    """What another process has said leaves no event behind."""
    async with asyncio.timeout(SOON):
        while not condition():
            await asyncio.sleep(0.005)


async def served(waiter):
    async with asyncio.timeout(SOON):
        return await asyncio.shield(waiter.lease)


async def test_a_turn_runs_where_a_place_is(join):
    here, there = await join(replying("here"), replying("a", "b"))
    own = here.lease()
    lease = await served(here.queue(owner=ALICE))
    assert (own.instance.name, lease.instance.name) == ("w1-i1", "w2-i1")
    assert (here.in_flight, there.in_flight) == (1, 1)
    assert here.shares.here.keys == {0: 1, 1: 1}
    turn = lease.instance.ask(ask(1))
    assert await ended(turn) == ["a", "b"]
    assert (turn.end.error, turn.end.session_id) == (None, "s-real")
    lease.release()
    await eventually(lambda: there.in_flight == 0)
    assert here.shares.here.keys == {0: 1}


async def test_siblings_know_each_other_at_once(join, monkeypatch):
    monkeypatch.setattr(siblings, "EVERY_SEC", 600.0)
    here, there = await join(replying("x"), replying("x"))
    assert (here.siblings.ready, there.siblings.free) == (True, 1)


async def test_login_without_plan_leaves_turns_to_siblings(join):
    here, there = await join(replying(code=112), replying("there"))
    lease = here.lease()
    turn = lease.instance.ask(ask(1))
    assert await ended(turn) == []
    lease.release()
    assert (type(turn.end.error), here.statuses()[0].cools_for) == (NoPlan, "no_plan")
    lent = await served(here.queue(owner=ALICE))
    assert lent.instance.name == "w2-i1"
    lent.release()
    # Its runtime tells the others at once, and not with the next second: by then the pause may be over.
    there.on_change = there.siblings.instances_changed
    there.upkeep.obey({"w2-i1": Order(mode=Mode.DRAIN)})
    # Nobody else is left, so the answer is that of the service, at once.
    await until(here, lambda: here.statuses()[0].cools_for == "")
    assert here.lease() is not None


async def test_key_with_fewest_places_comes_first_everywhere(join):
    here, there = await join(replying("x"), replying("x"), most=2)
    held = [here.lease(owner=ALICE), here.lease(owner=ALICE), *[there.lease(owner=ALICE) for _ in range(2)]]
    hers, his = there.queue(owner=ALICE), here.queue(owner=BOB)
    await eventually(lambda: any(lender.wanted for lender in there.siblings._lenders))
    held[2].release()
    assert (await served(his)).instance.name == "w2-i1"
    assert not hers.lease.done()
    held[3].release()
    assert (await served(hers)).instance.name == "w2-i1"


async def test_a_place_elsewhere_counts_beside_a_small_queue(join):
    here, _ = await join(replying("x"), replying("x"), waiting=0)
    here.lease()
    lease = await served(here.queue())
    with pytest.raises(Overloaded):
        here.queue()
    assert lease.instance.name == "w2-i1"


async def test_places_and_turns_of_dead_process_are_lost(join):
    here, there = await join(replying("x"), lambda peer, params: say(peer, params, "begun"))
    here.lease()
    lease = await served(here.queue())
    turn = lease.instance.ask(ask(1))
    assert [piece.text for piece in await turn.drain()] == ["begun"]
    await end(there.following)
    assert await turn.drain() == []
    assert isinstance(turn.end.error, ConnectionLost)
    with pytest.raises(ConnectionLost):
        lease.instance.ask(ask(2))
    await there.service.got("chat/stop")
    lease.release()
    await eventually(lambda: there.in_flight == 0)
    assert here.shares.here.keys == {0: 1}


async def test_exit_under_a_borrowed_turn_is_described(join):
    here, there = await join(replying("x"), lambda peer, params: say(peer, params, "begun"))
    here.lease()
    lease = await served(here.queue())
    turn = lease.instance.ask(ask(1))
    assert [piece.text for piece in await turn.drain()] == ["begun"]
    assert await lease.instance.exit_of(lease.instance.generation - 1) is None
    there.service._server.close()
    assert await turn.drain() == []
    assert isinstance(turn.end.error, ConnectionLost)
    assert await lease.instance.exit_of(lease.instance.generation) == Exit("r1", has_begun=True)


@pytest.fixture
async def raw(tmp_path):
    """Connects to a process and says these bytes; reads on from there."""
    writers = []

    async def raw(data):
        reader, writer = await asyncio.open_unix_connection(str(socket_path(tmp_path, "web-1")))
        writers.append(writer)
        writer.write(data)
        return reader

    yield raw
    for writer in writers:
        writer.close()


async def cut(reader):
    """Until the process has closed the connection."""
    async with asyncio.timeout(SOON):
        while await reader.read(1 << 16):
            pass
    return True


async def test_places_borrowed_by_hung_process_are_freed(join, raw):
    (pool, _) = await join(replying("x"), replying("x"), silence=2.5)
    demand = msgspec.msgpack.encode(Demand(1, 0, Line(0, 0)))
    reader = await raw(len(demand).to_bytes(4, "big") + demand)
    await eventually(lambda: pool.in_flight == 1)
    assert await cut(reader)  # for it says nothing more
    await eventually(lambda: pool.in_flight == 0)


async def test_unreadable_message_ends_one_connection_only(join, raw):
    here, _ = await join(replying("x"), replying("x"))
    for nonsense in (b"\xff\xff\xff\xff", b"\x00\x00\x00\x01\xc1", b"\x00\x00\x00\x02\x91\x63"):
        assert await cut(await raw(nonsense))
    here.lease()
    assert (await served(here.queue())).instance.name == "w2-i1"


async def test_stopping_process_lends_nothing_and_waits(join):
    here, there = await join(replying("x"), replying("x"), most=2)
    held = [here.lease(), here.lease()]
    lease = await served(here.queue())
    there.lends = False
    there.siblings.instances_changed()
    await until(here, lambda: not here.siblings.ready)
    returned = asyncio.create_task(there.siblings.returned())
    waiting = here.queue()
    assert await ended(lease.instance.ask(ask(1))) == ["x"]
    assert not returned.done()
    lease.release()
    async with asyncio.timeout(SOON):
        await returned
    held[0].release()
    assert (await served(waiting)).instance.name == "w1-i1"


async def test_image_goes_to_the_asked_service(join):
    here, there = await join(replying("x"), replying("x"))
    here.lease()
    lease = await served(here.queue())
    there.service.on_upload = take
    url = await lease.instance.upload_image("data:image/png;base64,AAAA")
    assert url.startswith("https://images.invalid/")
    there.service.on_upload = refuse
    with pytest.raises(UploadFailed, match="FILE_TOO_LARGE"):
        await lease.instance.upload_image("data:image/png;base64,AAAA")


@pytest.mark.parametrize("code", [200, 500])
async def test_figures_of_a_borrowed_turn_may_be_late(join, tmp_path, code):
    here, _ = await join(replying("x"), replying("x", code=code))
    here.lease()
    lease = await served(here.queue())
    turn = lease.instance.ask(ask(1))
    await ended(turn)
    lease.release()
    found = asyncio.get_running_loop().create_future()
    here.late_usages.expect(Awaited(lease.instance.log, ["r1"]), lambda *tokens: found.set_result(tokens))
    with (tmp_path / "service-2" / "logs" / "lingma.log").open("a") as file:
        file.write(line("r1", 7, 8))
    async with asyncio.timeout(SOON):
        assert await found == (7, 8)


@pytest.mark.parametrize("code", [200, 500])
@pytest.mark.parametrize("logs", [True, False])
async def test_service_without_a_log_has_no_figures(join, code, logs):
    here, _ = await join(replying("x"), replying("x", code=code), logs=logs)
    here.lease()
    lease = await served(here.queue())
    await ended(lease.instance.ask(ask(1)))
    assert lease.instance.log.may_come is logs


async def test_slow_reader_has_only_one_turn_ended(join):
    async def flood(peer, params):
        for _ in range(40):
            await say(peer, params, "x" * 100_000)

    here, _ = await join(replying("x"), flood)
    here.lease()
    lease = await served(here.queue())
    turn = lease.instance.ask(ask(1))
    drowned = asyncio.Event()
    turn.overflow = drowned.set
    async with asyncio.timeout(SOON):
        await drowned.wait()
    assert isinstance(turn.end.error, SlowClient)
    await here.siblings._borrowers[2].link.room()
    lease.release()
    assert (await served(here.queue())).instance.name == "w2-i1"


def test_the_socket_is_this_users_alone(tmp_path):
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    path = socket_path(deep, "web-3")
    assert len(bytes(path)) < 108
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    path.unlink()
    path.parent.rmdir()

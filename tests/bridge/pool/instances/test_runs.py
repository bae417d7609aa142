"""Runs of a service: how they ended, and over which question."""

import asyncio
import os
import signal

import msgspec
import pytest

from bridge.chat.errors import ConnectionLost
from bridge.lingma.dialects.base import Ask
from bridge.lingma.process.endpoint import Identity
from bridge.pool.instances.orders import Order
from bridge.pool.instances.runs import MOST_REMEMBERED, Exit, Runs
from bridge.pool.options import InstanceOptions
from bridge.status.wanted import Mode
from tests.bridge.lingma.conftest import received_pieces
from tests.bridge.lingma.service import Service
from tests.bridge.pools import attached, in_state, running, simulator, until


def ask(instance, text="[[sim: first_ms=60000]] wait", request_id="r1"):
    return instance.ask(Ask(request_id, "", text, "org_auto"))


async def lost(instance, turn):
    generation = instance.generation
    await received_pieces(turn)
    assert isinstance(turn.end.error, ConnectionLost)
    return await instance.exit_of(generation)


async def test_exit_over_a_lone_question(tmp_path):
    async with running([simulator(tmp_path, "--login=auto")]) as pool:
        instance = pool.instances[0]
        turn = ask(instance, "[[sim: fault=crash after=0]] poison")
        assert await lost(instance, turn) == Exit(only="r1")
        await in_state(pool, "ready")
        turn = ask(instance, "[[sim: fault=crash after=0]] poison", "r2")
        assert await lost(instance, turn) == Exit(only="r2")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
async def test_killed_run_is_no_crash(tmp_path, number):
    async with running([simulator(tmp_path, "--login=auto")]) as pool:
        instance = pool.instances[0]
        turn = ask(instance)
        os.kill(pool.statuses()[0].pid, number)
        ended = await lost(instance, turn)
        assert (ended.only, ended.killed) == ("r1", number == signal.SIGKILL)


@pytest.mark.parametrize("shared", [False, True])
async def test_turn_is_never_alone_on_shared_service(shared):
    async with Service() as service:
        [spec] = attached(service)
        async with running([msgspec.structs.replace(spec, shared=shared)]) as pool:
            instance = pool.instances[0]
            turn = ask(instance)
            await service.got("chat/ask")
            service._server.close()
            assert await lost(instance, turn) == Exit(only="" if shared else "r1", shared=shared)


async def test_question_of_a_lost_connection_stays_company(tmp_path):
    async with running([simulator(tmp_path, "--login=auto")]) as pool:
        instance = pool.instances[0]
        before = instance.generation
        turn = ask(instance)
        instance._link.connection.close()
        await received_pieces(turn)
        assert await instance.exit_of(before) is None
        await until(pool, lambda: instance.is_ready)
        assert instance.generation == before
        turn = ask(instance, "[[sim: fault=crash after=0]] poison", "r2")
        assert await lost(instance, turn) == Exit()


async def test_question_that_a_stop_ended_is_no_company(tmp_path):
    async with running([simulator(tmp_path, "--login=auto")], instances=InstanceOptions(drain=0.2)) as pool:
        instance = pool.instances[0]
        lease = pool.lease()
        turn = ask(instance)
        pool.upkeep.obey({"w1-i1": Order(Mode.STOP)})
        await received_pieces(turn)
        lease.release()
        await in_state(pool, "stopped")
        pool.upkeep.obey({})
        await in_state(pool, "ready")
        turn = ask(instance, "[[sim: fault=crash after=0]] poison", "r2")
        assert await lost(instance, turn) == Exit(only="r2")


async def test_another_run_begins_without_company():
    runs = Runs()
    assert not runs.is_same(Identity(1, 1))
    runs.abandoned.add("r1")
    assert runs.is_same(Identity(1, 1))
    runs.note_exit()
    ended = runs.generation
    assert not runs.is_same(Identity(2, 2))
    runs.abandoned.add("r2")
    assert (await runs.exit_of(ended), await runs.exit_of(runs.generation)) == (Exit("r1"), None)


async def test_unproven_new_run_keeps_company():
    runs = Runs()
    runs.begin()
    runs.abandoned.add("r1")
    runs.begin()  # a service that cannot prove who it is
    runs.abandoned.add("r2")
    runs.note_exit()
    assert await runs.exit_of(runs.generation) == Exit()


async def test_old_runs_are_forgotten():
    runs = Runs()
    generations = []
    for _ in range(MOST_REMEMBERED + 1):
        runs.begin()
        runs.note_exit()
        generations.append(runs.generation)
    crashed = [await runs.exit_of(generation) is not None for generation in generations]
    assert crashed == [False] + [True] * MOST_REMEMBERED


async def test_cancellation_as_the_wait_ends_counts():
    """A stop that comes at that moment would otherwise be lost, and the task would go on for ever."""
    runs = Runs()
    runs.begin()
    runs.mark_unsettled()
    asking = asyncio.create_task(runs.exit_of(runs.generation))
    await asyncio.sleep(0)
    runs.settle()
    asking.cancel()
    await asyncio.wait({asking})
    assert asking.cancelled()

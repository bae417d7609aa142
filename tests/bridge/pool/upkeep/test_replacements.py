"""An instance is replaced without a gap, by one that has proved itself."""

import asyncio
import json
import time
from contextlib import asynccontextmanager

import msgspec
import pytest
from prometheus_client import REGISTRY

from bridge.chat.errors import Unavailable
from bridge.lingma.dialects.base import Ask
from bridge.logins.work_dir import Held
from bridge.pool.instances import work_dirs
from bridge.pool.instances.orders import Order
from bridge.pool.late_usages import Awaited
from bridge.pool.options import InstanceOptions
from bridge.pool.policy import replacement_pause
from bridge.status.logins import WantedLogin
from bridge.status.transitions import TransitionReason
from bridge.status.wanted import Mode
from tests.bridge.lingma.conftest import ended
from tests.bridge.lingma.test_log_tail import line
from tests.bridge.living import alive, gone
from tests.bridge.pools import attached, in_state, running, simulator, until

AUTO = "--login=auto"
FAILED = "lingma_gateway_replacements_total", {"instance": "w1-i1", "outcome": "failed"}
SMOKE = InstanceOptions(smoke_model="org_auto")


@asynccontextmanager
async def one(folder, *arguments, instances=SMOKE, ready=True):
    async with running([simulator(folder / "i1", *arguments)], instances=instances, ready=ready) as pool:
        yield pool


class Lease:
    """One that is taken by another process as soon as this one has it."""

    holder = ""

    async def take(self, login, generation):
        self.holder = "other" if self.holder else "this"
        return self.holder == "this"

    async def give_back(self, login):
        self.holder = ""


def ask(instance, text, request_id="r1"):
    return instance.ask(Ask(request_id, f"s-{request_id}", text, "org_auto"))


def restart(pool, **more):
    order = Order(restart_before=time.time(), **more)
    pool.upkeep.obey({instance.name: order for instance in pool.instances})
    return order


def control(work_dir, **knobs):
    work_dir.mkdir(parents=True, exist_ok=True)
    draft = work_dir / "draft"
    draft.write_text(json.dumps(knobs))
    draft.replace(work_dir / "simulator.json")


def steps(pool):
    return [each.why for each in pool.instances[0].timeline.pending()]


def pid(pool):
    return pool.statuses()[0].pid


async def taken_over(pool, before):
    await until(pool, lambda: pid(pool) not in (0, before) and not pool.statuses()[0].replacing)


async def test_restart_costs_no_turn_and_no_wait(tmp_path):
    async with one(tmp_path, AUTO) as pool:
        before, old = pool.statuses()[0], pool.instances[0]
        lease = pool.lease()
        turn = ask(old, '[[sim: text="Hello there" chunks=60 first_ms=0 delay_ms=50]]')
        order = restart(pool)
        while pid(pool) == before.pid:
            # Whoever comes meanwhile has a place at once.
            other = pool.lease()
            assert other is not None
            other.release()
            await asyncio.sleep(0.02)
        after = pool.statuses()[0]
        assert (after.name, after.state, after.restarts, after.last_error) == ("w1-i1", "ready", 0, "")
        assert after.generation > before.generation
        assert pool.lease(old.affinity).instance is pool.instances[0]
        assert "".join(await ended(turn)) == "Hello there"
        assert alive(before.pid)
        assert pool.statuses()[0].in_flight == 2
        lease.release()
        assert await gone(before.pid)
        # The same order again is done already.
        pool.upkeep.obey({"w1-i1": order})
        await asyncio.sleep(0)
        assert not pool.instances[0].succession.is_for_restart
        assert [each for each in steps(pool) if each in (TransitionReason.REPLACING, TransitionReason.REPLACED)] == [
            TransitionReason.REPLACING,
            TransitionReason.REPLACED,
        ]


async def test_work_dirs_take_turns_and_are_found_again(tmp_path):
    first = tmp_path / "i1"
    async with one(tmp_path, AUTO) as pool:
        (first / "cache" / "app-config.json").write_text('{"proxyMode": "manual"}')
        before = pid(pool)
        restart(pool)
        await taken_over(pool, before)
        assert await gone(before)
        assert work_dirs.in_use(first).name == "i1.b"
        assert (tmp_path / "i1.b" / "cache" / "app-config.json").read_text() == '{"proxyMode": "manual"}'
    async with one(tmp_path, AUTO) as pool:
        assert pool.instances[0].work_dir == tmp_path / "i1.b"
        before = pid(pool)
        restart(pool)
        await taken_over(pool, before)
        assert await gone(before)
        assert work_dirs.in_use(first) == first
        report = pool.statuses()[0].smoke
        assert (report.ok, report.version, bool(report.behaviour)) == (True, pool.statuses()[0].version, True)


async def test_successor_that_cannot_start_is_thrown_away(tmp_path):
    # For the good ones, too: as long as a start may take on a busy machine.
    options = msgspec.structs.replace(SMOKE, start_timeout=10.0)
    async with one(tmp_path, AUTO, instances=options) as pool:
        before = pid(pool)
        control(tmp_path / "i1", start_fails=True)
        restart(pool)
        await until(pool, lambda: pool.statuses()[0].not_replaced)
        status = pool.statuses()[0]
        assert (status.pid, status.state) == (before, "ready")
        assert "not ready within 10 s" in status.last_error
        assert pool.lease() is not None
        assert TransitionReason.KEPT in steps(pool)
        control(tmp_path / "i1", start_fails=False)
        # Operators need not wait for the next try.
        restart(pool)
        await taken_over(pool, before)
        assert not pool.statuses()[0].not_replaced


async def test_successor_that_does_not_answer_is_thrown_away(tmp_path):
    async with one(tmp_path, AUTO) as pool:
        before = pid(pool)
        control(tmp_path / "i1", finish=500)
        counted = REGISTRY.get_sample_value(*FAILED) or 0
        restart(pool)
        await until(pool, lambda: pool.statuses()[0].not_replaced)
        assert REGISTRY.get_sample_value(*FAILED) == counted + 1
        assert "it does not answer" in pool.statuses()[0].last_error
        assert (pid(pool), work_dirs.in_use(tmp_path / "i1").name) == (before, "i1")


async def test_restart_goes_on_without_plan(tmp_path):
    async with one(tmp_path, AUTO, "--finish=112") as pool:
        before = pid(pool)
        restart(pool)
        await taken_over(pool, before)
        assert pool.lease() is not None


@pytest.mark.parametrize("code", [112, 10011])
async def test_login_with_plan_stays(tmp_path, code):
    async with one(tmp_path, AUTO) as pool:
        before = pid(pool)
        pool.instances[0].login.held = Held(7, 1, "")
        pool.upkeep.replace("w1-i1", simulator(tmp_path / "elsewhere", AUTO, f"--finish={code}"))
        await until(pool, lambda: pool.statuses()[0].not_replaced)
        assert "it does not answer: The plan" in pool.statuses()[0].last_error
        assert (pid(pool), pool.statuses()[0].held_login) == (before, 7)


async def test_silent_successor_is_thrown_away(tmp_path):
    async with one(tmp_path, AUTO, instances=msgspec.structs.replace(SMOKE, smoke_sec=0.3)) as pool:
        before = pid(pool)
        control(tmp_path / "i1", first_ms=60_000)
        restart(pool)
        await until(pool, lambda: pool.statuses()[0].not_replaced)
        assert "no answer within 0 s" in pool.statuses()[0].last_error
        assert pid(pool) == before


async def test_smoke_chat_can_be_left_out(tmp_path):
    async with one(tmp_path, AUTO, instances=InstanceOptions()) as pool:
        before = pid(pool)
        control(tmp_path / "i1", finish=500)
        restart(pool)
        await taken_over(pool, before)
        assert (pool.statuses()[0].state, pool.statuses()[0].smoke) == ("ready", None)


async def test_instance_without_a_login_is_replaced_at_once(tmp_path):
    async with one(tmp_path, ready=False) as pool:
        await in_state(pool, "login_required")
        before = pid(pool)
        restart(pool)
        await taken_over(pool, before)
        assert pool.statuses()[0].state == "login_required"


async def test_turns_wait_for_successor_of_useless_one(tmp_path):
    async with one(tmp_path, ready=False) as pool:
        await in_state(pool, "login_required")
        with pytest.raises(Unavailable):
            pool.lease()
        restart(pool)
        assert pool.lease() is None
        await until(pool, lambda: pool.statuses()[0].replacing)
        assert pool.lease() is None


async def test_stop_ends_a_replacement(tmp_path):
    async with one(tmp_path, AUTO) as pool:
        before = pid(pool)
        control(tmp_path / "i1", start_delay_ms=20_000)
        order = restart(pool)
        await until(pool, lambda: pool.statuses()[0].replacing)
        pool.upkeep.obey({"w1-i1": msgspec.structs.replace(order, mode=Mode.STOP)})
        await in_state(pool, "stopped")
        assert await gone(before)
        assert not pool.statuses()[0].not_replaced


async def test_instance_becomes_another_kind_on_request(tmp_path):
    async with one(tmp_path, AUTO) as pool:
        before = pid(pool)
        spec = msgspec.structs.replace(simulator(tmp_path / "elsewhere", AUTO, "--version-string=9.9.9"), upstream="x")
        pool.upkeep.replace("w1-i1", spec)
        await taken_over(pool, before)
        assert (pool.statuses()[0].upstream, pool.instances[0].work_dir.name) == ("x", "i1.b")
        with pytest.raises(KeyError):
            pool.upkeep.replace("w1-i9")


async def test_other_kind_replaces_one_that_cannot_run(tmp_path):
    async with one(tmp_path, AUTO, "--start-fails=1", ready=False) as pool:
        await until(pool, lambda: pool.statuses()[0].restarts >= 2)
        pool.upkeep.replace("w1-i1", simulator(tmp_path / "elsewhere", AUTO))
        await in_state(pool, "ready")
        assert pool.instances[0].work_dir.name == "i1.b"


async def test_lost_lease_ends_a_replacement(tmp_path):
    lease = Lease()
    async with one(tmp_path, AUTO) as pool:
        pool.upkeep.share_replacements(lease)
        pool.instances[0].login.wish.login = WantedLogin(7, 0)
        pool.instances[0].login.held = Held(7, 0, "")
        before = pid(pool)
        restart(pool, login=WantedLogin(7, 0))
        await until(pool, lambda: pool.statuses()[0].not_replaced)
        assert "another process has replaced" in pool.statuses()[0].last_error
        assert (pid(pool), lease.holder) == (before, "")


async def test_replacements_in_a_process_take_turns(tmp_path):
    sources = [simulator(tmp_path / "i1", AUTO), simulator(tmp_path / "i2", AUTO)]
    async with running(sources, instances=SMOKE) as pool:
        before = [each.pid for each in pool.statuses()]
        seen, changed = set(), asyncio.Event()

        def note():
            seen.add(sum(each.replacing for each in pool.statuses()))
            changed.set()

        pool.on_change = note
        restart(pool)
        async with asyncio.timeout(30):
            while any(each.pid in (0, *before) for each in pool.statuses()):
                changed.clear()
                await changed.wait()
        assert seen == {0, 1}


async def test_turns_left_where_replaced_are_ended_in_time(tmp_path):
    async with one(tmp_path, AUTO, instances=msgspec.structs.replace(SMOKE, retire=0.2)) as pool:
        lease = pool.lease()
        turn = ask(lease.instance, "[[sim: text=Hello chunks=2 first_ms=0 delay_ms=600000]]")
        await turn.drain()
        restart(pool)
        await ended(turn)
        assert turn.end.error is not None
        lease.release()
        assert (pool.statuses()[0].in_flight, pool.in_flight) == (0, 0)


async def test_late_figures_of_replaced_one_are_found(tmp_path):
    async with one(tmp_path, AUTO) as pool:
        before, found = pid(pool), []
        old = pool.instances[0]
        pool.late_usages.expect(Awaited(old.log, ["r-late"]), lambda *tokens: found.append(tokens))
        restart(pool)
        await taken_over(pool, before)
        assert alive(before)
        with (old.work_dir / "logs" / "lingma.log").open("a") as file:
            file.write(line("r-late", 7, 8))
        assert await gone(before)
        assert found == [(7, 8)]


async def test_stop_hurries_turns_left_where_replaced(tmp_path):
    async with one(tmp_path, AUTO, instances=msgspec.structs.replace(SMOKE, drain=0.2)) as pool:
        before = pid(pool)
        lease = pool.lease()
        turn = ask(lease.instance, "[[sim: text=Hello chunks=2 first_ms=0 delay_ms=600000]]")
        await turn.drain()
        order = restart(pool)
        await taken_over(pool, before)
        assert turn.end is None
        pool.upkeep.obey({"w1-i1": msgspec.structs.replace(order, mode=Mode.STOP)})
        await ended(turn)
        lease.release()
        assert await gone(before)


async def test_pool_stops_in_the_midst_of_a_replacement(tmp_path):
    async with one(tmp_path, AUTO) as pool:
        before = pid(pool)
        control(tmp_path / "i1", start_delay_ms=20_000)
        restart(pool)
        await until(pool, lambda: pool.statuses()[0].replacing)
        [successor] = pool._members.successors.values()
        async with asyncio.timeout(30):
            while not (beside := successor.status().pid):
                await asyncio.sleep(0.01)
    assert await gone(before)
    assert await gone(beside)


@pytest.mark.parametrize(("failures", "least"), [(1, 5), (2, 10), (3, 20), (8, 600), (99, 600)])
def test_pauses_between_tries_grow(failures, least):
    assert (replacement_pause(failures, 0.0), replacement_pause(failures, 1.0)) == (least, least * 1.25)


async def test_attached_instance_has_no_successor(services):
    async with running(attached(services[0])) as pool:
        assert not pool.instances[0].succession.is_possible
        with pytest.raises(KeyError):
            pool.upkeep.replace("w1-i1")

"""Logins of instances: given, changed, stored again, one after the other; with real services and a real database."""

import asyncio
import json
import stat
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import psutil
import pytest
from asgiref.sync import sync_to_async

from bridge.fleet import orders
from bridge.fleet.login_store import DatabaseLogins, look_after
from bridge.fleet.logins import import_bundle
from bridge.fleet.replacement_lease import RedisReplacementLease
from bridge.fleet.wanted import wanted_watcher
from bridge.lingma.dialects.base import Ask
from bridge.logins.bundle import from_folder, of_two
from bridge.logins.work_dir import Held
from bridge.models import InstanceOrder, Login, LoginAttempt
from bridge.pool.instances.work_dirs import in_use
from bridge.pool.logins.login_store import Report, StoreAway
from bridge.pool.options import InstanceOptions, PoolOptions
from bridge.pool.pool import Pool
from bridge.status.accounts import AccountState
from gateway_project.lib.redis.redis_link import RedisLink
from gateway_project.lib.secrets.secrets_at_rest import Secret, SecretBox
from tests.bridge.lingma.conftest import ended
from tests.bridge.living import alive
from tests.bridge.logins.files import DAY, user_file, write_login
from tests.bridge.pools import in_state, simulator, until
from tests.processes import command_line

pytestmark = pytest.mark.django_db(transaction=True)


@asynccontextmanager
async def fleet(redis_server, *directories, arguments=(), store=None, options=None, process=1):
    """A pool of simulators that nobody is logged in to, and what a web process does for its logins."""
    link = RedisLink(redis_server, timeout=30)
    if process == 1:  # another test may have had logins of the same ids
        await link.execute("DEL", "lgw:replacing:0", *await link.execute("KEYS", "lgw:replacing:*"))
    specs = [simulator(each, *arguments) for each in directories]
    pool = Pool(specs, process, PoolOptions(), options or InstanceOptions(orders_within=30))
    pool.upkeep.take_logins_from(store or DatabaseLogins())
    pool.upkeep.share_replacements(RedisReplacementLease(link, f"w{process}"))
    watcher = wanted_watcher(link, lambda wanted: pool.upkeep.obey(wanted.orders))
    await watcher.refresh()
    pool.start()
    tasks = [asyncio.create_task(each) for each in (watcher.follow(), look_after(pool))]
    try:
        yield pool
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        pool.on_change = lambda: None
        await pool.stop()
        await link.close()


@sync_to_async
def bring(folder, label="main", **login):
    """Import a login of the simulator's kind."""
    return import_bundle(label, from_folder(write_login(folder, **login)))


@sync_to_async
def give(login, *names):
    for name in names:
        InstanceOrder.objects.update_or_create(name=name, defaults={"login": login})


async def stored(label="main"):
    return await Login.objects.aget(label=label)


async def until_stored(label="main", **wanted):
    async with asyncio.timeout(60):
        while True:
            login = await stored(label)
            if all(getattr(login, name) == value for name, value in wanted.items()):
                return login
            await asyncio.sleep(0.05)


def account_of(first):
    directory = in_use(first)
    return json.loads((directory / "cache" / "user").read_text())["name"]


async def test_imported_login_is_used_and_reported(redis_server, tmp_path):
    async with fleet(redis_server, tmp_path / "w1") as pool:
        await in_state(pool, "login_required")
        login = await bring(tmp_path / "files")
        await give(login, "w1-i1")
        await in_state(pool, "ready")
        assert stat.S_IMODE((in_use(tmp_path / "w1") / "cache" / "user").stat().st_mode) == 0o600
        status = pool.statuses()[0]
        assert (status.held_login, status.login_generation, status.restarts) == (login.pk, 1, 0)
        found = await until_stored(account="logged_in")
        assert abs(found.expires_at.timestamp() - time.time() - 60 * DAY) < 600
        assert found.generation == 1


async def test_login_that_cannot_be_written_is_told(redis_server, tmp_path):
    first, second = await bring(tmp_path / "one", "first"), await bring(tmp_path / "two", "second", name="bob")
    await give(first, "w1-i1")
    async with fleet(redis_server, tmp_path / "w1") as pool:
        await in_state(pool, "ready")
        await until_stored("first", account="logged_in")
    in_the_way = [tmp_path / name / "cache" / "id.gateway.tmp" for name in ("w1", "w1.b")]
    for each in in_the_way:
        each.mkdir(parents=True)
    await give(second, "w1-i1")
    async with fleet(redis_server, tmp_path / "w1") as pool:
        await in_state(pool, "login_required")
        await until_stored("second", problem="not_written", account="unknown")
        assert pool.statuses()[0].held_login == 0
        # The other one, which was there before, has nothing to do with that.
        login = await stored("first")
        assert (login.account, login.problem) == ("logged_in", "")
        for each in in_the_way:
            each.rmdir()
        await in_state(pool, "ready")
        await until_stored("second", problem="", account="logged_in")


async def test_running_turn_ends_before_another_login(redis_server, tmp_path):
    login = await bring(tmp_path / "one")
    await give(login, "w1-i1")
    async with fleet(redis_server, tmp_path / "w1") as pool:
        await in_state(pool, "ready")
        pid = pool.statuses()[0].pid
        lease = pool.lease()
        turn = pool.instances[0].ask(
            Ask("r1", "s1", '[[sim: text="Hello there" chunks=40 first_ms=0 delay_ms=50]]', "org_auto")
        )
        await bring(tmp_path / "two", name="bob", machine="machine-2")
        assert "".join(await ended(turn)) == "Hello there"
        assert turn.end.error is None
        assert alive(pid)
        lease.release()
        await until(pool, lambda: pool.statuses()[0].login_generation == 2 and pool.statuses()[0].login)
        assert (account_of(tmp_path / "w1"), pool.statuses()[0].restarts) == ("bob", 0)


async def test_renewed_login_is_stored_once(redis_server, tmp_path):
    login = await bring(tmp_path / "files", days=1)
    await give(login, "w1-i1")
    arguments = (f"--renewal-sec={2 * DAY}", "--renewal=never")
    async with fleet(redis_server, tmp_path / "w1", arguments=arguments) as pool:
        await in_state(pool, "ready")
        pid = pool.statuses()[0].pid
        await until_stored(account="logged_in")  # with its end, to which the next is compared
        (tmp_path / "w1" / "simulator.json").write_text('{"renewal": "works"}')
        found = await until_stored(generation=2)
        assert found.expires_at > datetime.now(UTC) + timedelta(days=50)
        (tmp_path / "w1" / "simulator.json").write_text('{"renewal": "never"}')
        await asyncio.sleep(4)
        # It is its own, so it goes on; and what was stored is what lies there.
        assert (await stored()).generation == 2
        assert pool.statuses()[0].pid == pid
        assert (await stored()).bundle.read().count((tmp_path / "w1" / "cache" / "user").read_bytes()) == 1
        attempt = await LoginAttempt.objects.aget()
        assert (attempt.way, attempt.state, attempt.result) == ("service", "done", "renewed")


async def test_renewal_that_fails_is_in_the_history(redis_server, tmp_path):
    login = await bring(tmp_path / "files", days=1)
    await give(login, "w1-i1", "w1-i2")
    arguments = (f"--renewal-sec={2 * DAY}", "--renewal=fails", "--renewal-every-sec=0.5")
    async with fleet(redis_server, tmp_path / "w1", tmp_path / "w2", arguments=arguments) as pool:
        await in_state(pool, "ready", "ready")
        async with asyncio.timeout(60):
            # Of two instances, and again and again: one row, which says how long it lasts.
            while not (found := await LoginAttempt.objects.afirst()) or found.took < timedelta(seconds=1):
                await asyncio.sleep(0.05)
        attempt = await LoginAttempt.objects.aget()
        assert (attempt.way, attempt.state, attempt.result) == ("service", "failed", "not_renewed")
        assert ((await stored()).generation, (await stored()).failures) == (1, 0)


async def test_renewal_of_one_instance_reaches_another(redis_server, tmp_path):
    login = await bring(tmp_path / "files", days=1)
    await give(login, "w1-i1", "w1-i2")
    async with fleet(redis_server, tmp_path / "w1", tmp_path / "w2", arguments=("--renewal=never",)) as pool:
        await in_state(pool, "ready", "ready")
        first = pool.statuses()[0].pid
        (tmp_path / "w1" / "simulator.json").write_text(f'{{"renewal": "works", "renewal_sec": {2 * DAY}}}')
        await until(pool, lambda: [each.login_generation for each in pool.statuses()] == [2, 2])
        await in_state(pool, "ready", "ready")
        assert pool.statuses()[0].pid == first
        users = {(in_use(tmp_path / name) / "cache" / "user").read_bytes() for name in ("w1", "w2")}
        assert len(users) == 1


async def test_instances_of_one_login_restart_in_turn(redis_server, tmp_path):
    login = await bring(tmp_path / "one")
    await give(login, "w1-i1", "w1-i2")
    async with fleet(redis_server, tmp_path / "w1", tmp_path / "w2") as pool:
        await in_state(pool, "ready", "ready")
        seen, changed = set(), asyncio.Event()

        def note():
            seen.add(tuple(each.state.value for each in pool.instances))
            changed.set()

        pool.on_change = note
        await bring(tmp_path / "two", name="bob", machine="machine-2")
        async with asyncio.timeout(60):
            while [each.login_generation for each in pool.statuses() if each.login] != [2, 2]:
                changed.clear()
                await changed.wait()
        assert [states for states in seen if "ready" not in states] == []


async def test_login_that_is_of_no_use_harms_nobody(redis_server, tmp_path):
    login = await bring(tmp_path / "one")
    await give(login, "w1-i1")
    # As long as a start of a good one may take, on a busy machine.
    options = InstanceOptions(orders_within=30, start_timeout=10)
    async with fleet(redis_server, tmp_path / "w1", options=options) as pool:
        await in_state(pool, "ready")
        pid = pool.statuses()[0].pid
        await sync_to_async(import_bundle)("main", of_two(user_file(machine="machine-1"), b"machine-2"))
        assert (await until_stored(problem="not_taken")).account == "logged_out"
        status = pool.statuses()[0]
        assert (status.pid, status.state, status.login_generation, status.not_replaced) == (pid, "ready", 1, True)
        assert "not logged in to Lingma" in status.last_error
        await bring(tmp_path / "two", name="bob", machine="machine-3")
        await until(pool, lambda: pool.statuses()[0].login_generation == 3)
        await until_stored(problem="", account="logged_in")


async def test_login_without_plan_follows_another_without(redis_server, tmp_path):
    await give(await bring(tmp_path / "one"), "w1-i1")
    options = InstanceOptions(orders_within=30, smoke_model="org_auto")
    async with fleet(redis_server, tmp_path / "w1", arguments=("--finish=112",), options=options) as pool:
        await in_state(pool, "ready")
        other = await bring(tmp_path / "two", label="second", name="bob", machine="machine-2")
        await give(other, "w1-i1")
        await until(pool, lambda: pool.statuses()[0].held_login == other.pk)
        assert (await until_stored("second", account="logged_in")).problem == ""


async def test_login_of_work_dir_goes_along(redis_server, tmp_path):
    write_login(tmp_path / "w1" / "cache")
    async with fleet(redis_server, tmp_path / "w1") as pool:
        await in_state(pool, "ready")
        pid = pool.statuses()[0].pid
        await sync_to_async(orders.give)(orders.Action.RESTART, ["w1-i1"])
        await until(pool, lambda: pool.statuses()[0].pid not in (0, pid))
        assert (pool.statuses()[0].state, pool.statuses()[0].held_login) == ("ready", 0)
        assert pool.instances[0].work_dir.name == "w1.b"


async def test_processes_replace_for_a_login_in_turn(redis_server, tmp_path):
    login = await bring(tmp_path / "one")
    await give(login, "w1-i1", "w2-i1")
    async with fleet(redis_server, tmp_path / "w1") as first, fleet(redis_server, tmp_path / "w2", process=2) as second:
        pools, seen = (first, second), []
        for pool in pools:
            await in_state(pool, "ready")
        await bring(tmp_path / "two", name="bob", machine="machine-2")
        async with asyncio.timeout(60):
            while [each.statuses()[0].login_generation for each in pools] != [2, 2]:
                seen.append([each.statuses()[0].replacing for each in pools])
                await asyncio.sleep(0.01)
    assert [True, False] in seen
    assert [False, True] in seen
    assert [True, True] not in seen


async def test_older_generation_never_wins(tmp_path):
    store, late = DatabaseLogins(), time.time() + 90 * DAY
    login = await bring(tmp_path / "one")
    older = Held(login.pk, 1, "")
    await bring(tmp_path / "two", name="bob", machine="machine-2")
    # Whatever its end: what was imported later is what somebody wanted.
    assert await store.keep(older, of_two(user_file("alice"), b"machine-1"), late) is None
    newest, mine = Held(login.pk, 2, ""), of_two(user_file("bob"), b"machine-2")
    await store.report(Report(login.pk, 2, AccountState.LOGGED_IN, late))
    assert await store.keep(newest, mine, late - DAY) is None
    assert await store.keep(newest, mine, late) == 3
    # Another instance of generation 2 was slower, and has nothing better; then it has.
    assert await store.keep(newest, mine, late) is None
    assert await store.keep(newest, mine, late + DAY) == 4
    await Login.objects.all().adelete()
    assert await store.keep(newest, mine, late + DAY) is None


async def test_report_of_older_generation_is_dropped(tmp_path):
    login = await bring(tmp_path / "one")
    await bring(tmp_path / "two")
    await DatabaseLogins().report(Report(login.pk, 1, AccountState.EXPIRED, 1.0))
    assert (await stored()).account == AccountState.UNKNOWN


async def test_files_that_log_nobody_in_are_told(redis_server, tmp_path):
    login = await sync_to_async(import_bundle)("main", of_two(user_file(machine="machine-1"), b"machine-2"))
    await give(login, "w1-i1")
    async with fleet(redis_server, tmp_path / "w1") as pool:
        await in_state(pool, "login_required")
        assert (await until_stored(problem="not_taken")).account == "logged_out"


async def test_login_under_unknown_key_harms_nobody(redis_server, tmp_path):
    login = await bring(tmp_path / "one")
    await give(login, "w1-i1")
    async with fleet(redis_server, tmp_path / "w1") as pool:
        await in_state(pool, "ready")
        pid = pool.statuses()[0].pid
        login.take(b"")
        login.bundle = Secret(SecretBox(["a key that nobody has any more"]).encrypt(b"files"))
        await login.asave()
        await until_stored(problem="unreadable")
        assert (pool.statuses()[0].pid, pool.statuses()[0].state) == (pid, "ready")


async def test_login_that_is_taken_away_is_gone(redis_server, tmp_path):
    login = await bring(tmp_path / "one")
    await give(login, "w1-i1")
    async with fleet(redis_server, tmp_path / "w1") as pool:
        await in_state(pool, "ready")
        await sync_to_async(login.delete)()
        await in_state(pool, "login_required")
        assert pool.statuses()[0].held_login == 0
        async with asyncio.timeout(60):
            while list(tmp_path.glob("w1*/cache/user")):
                await asyncio.sleep(0.05)


async def test_login_made_by_hand_becomes_first_generation(redis_server, tmp_path):
    write_login(tmp_path / "w1" / "cache")
    login = await Login.objects.acreate(label="main", kind="browser")
    await give(login, "w1-i1")
    async with fleet(redis_server, tmp_path / "w1") as pool:
        await in_state(pool, "ready")
        found = await until_stored(generation=1, account="logged_in")
        assert found.brought_generation == 0
        assert pool.statuses()[0].restarts == 0


async def test_work_dir_keeps_login_while_orders_are_unknown(tmp_path):
    write_login(tmp_path / "w1" / "cache")
    held = Held(7, 3, "x")
    (tmp_path / "w1" / ".lingma-gateway-login.json").write_text(
        json.dumps({"login": held.login, "generation": held.generation, "digest": held.digest})
    )
    pool = Pool([simulator(tmp_path / "w1")], 1, PoolOptions(), InstanceOptions(orders_within=0.1))
    pool.start()
    try:
        await in_state(pool, "ready")
        assert pool.statuses()[0].login_generation == 3
    finally:
        pool.on_change = lambda: None
        await pool.stop()


async def test_instance_moves_to_another_login(redis_server, tmp_path):
    await give(await bring(tmp_path / "one", "one"), "w1-i1")
    async with fleet(redis_server, tmp_path / "w1") as pool:
        await in_state(pool, "ready")
        (tmp_path / "w1" / "cache" / "quota").write_text("of nobody's login")
        other = await bring(tmp_path / "two", "two", name="bob", machine="machine-2")
        await give(other, "w1-i1")
        await until(pool, lambda: pool.statuses()[0].held_login == other.pk and pool.statuses()[0].login)
        assert account_of(tmp_path / "w1") == "bob"
        assert (in_use(tmp_path / "w1") / "cache" / "quota").exists()


async def test_login_with_endpoint_is_started_with_it(redis_server, tmp_path):
    login = await bring(tmp_path / "one")
    await give(login, "w1-i1")
    async with fleet(redis_server, tmp_path / "w1", arguments=("--endpoint=https://of-all.example.com",)) as pool:
        await in_state(pool, "ready")
        assert "--endpoint=https://of-all.example.com" in command_line(psutil.Process(pool.statuses()[0].pid))
        pid = pool.statuses()[0].pid
        login.endpoint = "https://ours.example.com"
        await login.asave()
        await until(pool, lambda: pool.statuses()[0].pid not in (0, pid) and pool.statuses()[0].login)
        line = command_line(psutil.Process(pool.statuses()[0].pid))
        assert [each for each in line if "--endpoint" in each] == ["--endpoint=https://ours.example.com"]


class Away(DatabaseLogins):
    """A database that is away when the first renewals are to be stored."""

    left = 3

    async def keep(self, held, bundle, expires_at):
        self.left -= 1
        if self.left >= 0:
            raise StoreAway
        return await super().keep(held, bundle, expires_at)


async def test_renewal_is_stored_when_database_is_back(redis_server, tmp_path):
    await give(await bring(tmp_path / "files", days=1), "w1-i1")
    arguments, store = ("--renewal=works", f"--renewal-sec={2 * DAY}"), Away()
    async with fleet(redis_server, tmp_path / "w1", arguments=arguments, store=store) as pool:
        await in_state(pool, "ready")
        await until_stored(generation=2)
        assert (store.left, pool.statuses()[0].restarts) == (-1, 0)

"""Orders of operators: by command, by the API and in the console; one row of the audit log each."""

import asyncio
import json
import re
import time
from functools import partial
from io import StringIO

import msgspec
import pytest
import redis
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group, User
from django.core.management import CommandError, call_command, load_command_class
from django.db import connection
from django.test import Client
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from accounts.models import AuditEntry
from bridge.fleet import attempts
from bridge.fleet.orders import read_orders
from bridge.fleet.wanted import wanted_watcher
from bridge.models import InstanceOrder, Login, LoginAttempt
from bridge.pool.instances.orders import EVERY, Order
from bridge.status.attempts import AttemptReason, AttemptResult, AttemptState
from bridge.status.instance import InstanceStatus
from bridge.status.logins import LoginKind
from bridge.status.states import InstanceState
from bridge.status.transitions import Transition, TransitionReason
from bridge.status.wanted import Mode
from bridge.tasks import smoke
from gateway_project.lib.redis.redis_link import RedisLink
from tests.environment import start_redis

pytestmark = pytest.mark.django_db
LIST = "/admin/bridge/instance/"


def beat(client, name, state="ready", installed=""):
    """A heartbeat of the instance."""
    status = InstanceStatus(
        name=name, process=1, pid=99, generation=1, state=state, login=True, in_flight=2, limit=8, restarts=4,
        last_error="", version="2.5.1", upstream="lingma", models=6, started_at=time.time() - 7200, at=time.time(),
        installed=installed,
    )  # fmt: skip
    client.set(f"lgw:instance:{name}", msgspec.json.encode(status), ex=60)


@pytest.fixture
def instances(redis_server):
    with redis.Redis.from_url(redis_server) as client:
        client.flushdb()
        beat(client, "w1-i1")
        beat(client, "w2-i1")
        yield client
        client.flushdb()


def by_command(action, name="", *options):
    out = StringIO()
    call_command("pool", action, *filter(None, [name]), *options, stdout=out)
    return out.getvalue()


def modes():
    return {name: order.mode for name, order in read_orders().items()}


def member(group):
    user = User.objects.create_user(group, is_staff=True)
    user.groups.add(Group.objects.get(name=group))
    client = Client()
    client.force_login(user)
    return client


def test_command_orders_one_or_all(instances):
    assert by_command("drain", "w2-i1") == "drain: w2-i1\n"
    assert modes() == {"w2-i1": Mode.DRAIN}
    assert by_command("stop", "all") == "stop: w1-i1, w2-i1\n"
    assert modes() == {EVERY: Mode.STOP, "w2-i1": Mode.STOP}
    by_command("start", "all")
    assert set(modes().values()) == {Mode.RUN}


def test_last_order_counts_for_instance_and_pool(instances):
    by_command("drain", "all")
    by_command("start", "w1-i1")
    assert modes() == {EVERY: Mode.DRAIN, "w1-i1": Mode.RUN}
    by_command("cool", "w2-i1")
    assert modes() == {EVERY: Mode.DRAIN, "w1-i1": Mode.RUN, "w2-i1": Mode.DRAIN}
    by_command("stop", "all")
    assert set(modes().values()) == {Mode.STOP}
    by_command("start", "all")
    assert {(order.mode, order.cool_until) for order in read_orders().values()} == {(Mode.RUN, 0)}


def test_pool_is_paused_without_any_instance(instances):
    instances.flushdb()
    assert by_command("drain", "all") == "drain: all\n"
    assert modes() == {EVERY: Mode.DRAIN}
    with pytest.raises(CommandError, match="There is no instance all"):
        by_command("restart", "all")


def test_command_names_what_is_there(instances):
    with pytest.raises(CommandError, match=r"There is no instance w9-i1\. There are: w1-i1, w2-i1\."):
        by_command("drain", "w9-i1")
    with pytest.raises(CommandError, match="--seconds"):
        by_command("cool", "all", "--seconds=0")
    assert not InstanceOrder.objects.exists()


def test_pauses_are_bounded_and_cleared(instances):
    before = time.time()
    by_command("cool", "w1-i1", "--seconds=60")
    assert before + 60 <= read_orders()["w1-i1"].cool_until <= time.time() + 60
    by_command("clear", "w1-i1")
    order = read_orders()["w1-i1"]
    assert order.cool_until == 0
    assert before <= order.cleared_at <= time.time()
    by_command("restart", "w1-i1")
    assert before <= read_orders()["w1-i1"].restart_before <= time.time()


def test_list_shows_all_instances(instances):
    beat(instances, "w1-i10", state="failed")
    heads, *rows = by_command("list").splitlines()
    assert heads.split() == ["NAME", "STATE", "SINCE", "REASON", "LOGIN", "VERSION", "IN", "FLIGHT", "PROCESS"]
    assert [row.split()[:2] for row in rows] == [["w1-i1", "ready"], ["w1-i10", "failed"], ["w2-i1", "ready"]]
    assert all("2.5.1" in row and "2/8" in row for row in rows)
    assert [row.split()[-1] for row in rows] == ["web-1"] * 3
    facts = {each["name"]: each for each in json.loads(by_command("list", "", "--json"))}
    assert (facts["w1-i10"]["state"], facts["w1-i10"]["in_flight"], facts["w1-i10"]["limit"]) == ("failed", 2, 8)


def test_list_says_why_and_since_when(instances):
    step = Transition(time.time() - 7300, InstanceState.READY, TransitionReason.REPLACED, "2.4.0")
    instances.lpush("lgw:timeline:w1-i1", msgspec.json.encode(step))
    first = by_command("list").splitlines()[1]
    assert "2 h" in first
    assert "the successor has taken over: 2.4.0" in first


def test_list_says_that_no_gateway_runs(instances):
    instances.flushdb()
    assert by_command("list").startswith("No gateway runs")
    assert json.loads(by_command("list", "", "--json")) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("list", "w1-i1"), "list takes no name"),
        (("drain",), "drain needs a NAME, or all."),
        (("drain", "--wait", "60"), "drain needs a NAME, or all."),
        (("drain", "w1-i1", "w2-i1"), "drain takes one NAME, or all."),
        (("w1-i1", "drain"), "invalid choice: 'w1-i1'"),
        (("drain", "all", "--json"), "--json is for list."),
        (("drain", "all", "--wait", "0"), "--wait is from 1 to 86400."),
        (("size", "--wait"), "size needs how many instances"),
        (("size", "many"), "many is no number of instances."),
        (("size", "2", "web-1"), "web-1 is no number of a web process"),
        (("size", "2", "0"), "0 is no number of a web process"),
    ],
)
def test_command_says_what_makes_no_sense(words, said, instances):
    with pytest.raises(CommandError, match=re.escape(said)):
        call_command("pool", *words, stdout=StringIO())
    assert not InstanceOrder.objects.exists()


@pytest.mark.parametrize(
    ("words", "wait"),
    [
        ("--wait=60 cool w2-i1", 60), ("cool --wait=60 w2-i1", 60), ("cool --wait 60 w2-i1", 60),
        ("cool --wait w2-i1", 300), ("--wait cool w2-i1", 300), ("cool w2-i1 --wait", 300),
        ("cool --seconds 60 w2-i1", None),
    ],
)  # fmt: skip
def test_options_of_pool_stand_anywhere(words, wait):
    options = load_command_class("bridge", "pool").create_parser("manage.py", "pool").parse_args(words.split())
    assert (options.action, options.name, options.wait) == ("cool", "w2-i1", wait)


def test_failed_log_in_ends_the_wait(instances):
    login = Login.objects.create(label="main", kind=LoginKind.BROWSER)
    InstanceOrder.objects.create(name="w1-i1", login=login)
    attempt, _ = attempts.begin(login, LoginKind.BROWSER, AttemptReason.OPERATOR, hand_over=False)

    def fail(execute, sql, *rest):
        """Once the command waits for it, the login worker ends it."""
        found = execute(sql, *rest)
        if "MAX(" in sql:
            LoginAttempt.objects.filter(pk=attempt.pk).update(
                state=AttemptState.FAILED, result=AttemptResult.REFUSED, detail="bad key", ended_at=timezone.now()
            )
        return found

    why = "the log-in of main has ended: Lingma did not take the credentials (bad key). See whether they are right"
    with connection.execute_wrapper(fail), pytest.raises(CommandError, match=re.escape(why)):
        by_command("relogin", "w1-i1", "--wait")


def test_wait_ends_with_what_is_missing(instances):
    with pytest.raises(CommandError, match="Not done within 1 s: w1-i1: ready, 2 turns in flight"):
        by_command("drain", "w1-i1", "--wait=1")
    assert modes() == {"w1-i1": Mode.DRAIN}


def test_schedule_asks_all_without_a_row(instances):
    before = time.time()
    smoke()
    orders = read_orders()
    assert {name for name, order in orders.items() if before <= order.smoke_at <= time.time()} == {"w1-i1", "w2-i1"}
    assert not AuditEntry.objects.exists()
    instances.flushdb()
    smoke()
    by_person = PeriodicTask.objects.get(task="bridge.smoke")
    assert not by_person.enabled


def test_relogin_begins_one_attempt_for_a_login(instances, admin_client):
    with pytest.raises(CommandError, match="No login of this gateway is assigned to w1-i1"):
        by_command("relogin", "w1-i1")
    login = Login.objects.create(label="work", kind=LoginKind.BROWSER)
    for name in ("w1-i1", "w2-i1"):
        InstanceOrder.objects.create(name=name, login=login)
    assert by_command("relogin", "all") == "relogin: w1-i1, w2-i1\n"
    body = json.dumps({"action": "relogin"})
    answer = admin_client.post("/api/instances/w1-i1/actions/", body, "application/json")
    assert answer.status_code == 202
    assert [(each.login, each.reason) for each in LoginAttempt.objects.all()] == [(login, AttemptReason.OPERATOR)]
    LoginAttempt.objects.all().delete()
    Login.objects.update(kind=LoginKind.AK_SK)
    answer = admin_client.post("/api/instances/w1-i1/actions/", body, "application/json")
    assert (answer.status_code, "no credentials" in answer.content.decode()) == (409, True)


def test_console_says_that_there_is_no_login(admin_client, instances):
    done = admin_client.post(f"{LIST}w1-i1/relogin/", {"confirmed": "yes"}, follow=True).content.decode()
    assert "No login of this gateway is assigned to w1-i1." in done


def test_each_order_is_one_audit_row(instances):
    by_command("drain", "all")
    by_command("start", "w1-i1")
    rows = AuditEntry.objects.order_by("id").values_list("source", "object_text")
    assert list(rows) == [
        ("command", "all"), ("command", "w1-i1"),
    ]  # fmt: skip


def test_api_orders_and_says_for_whom(admin_client, instances):
    def post(name, **body):
        return admin_client.post(f"/api/instances/{name}/actions/", json.dumps(body), "application/json")

    answer = post("w1-i1", action="drain")
    assert (answer.status_code, answer.json()["instances"]) == (202, ["w1-i1"])
    assert post("all", action="cool", seconds=30).json()["instances"] == ["w1-i1", "w2-i1"]
    assert post("w9-i1", action="drain").status_code == 404
    assert post("w1-i1", action="explode").status_code == 400
    assert post("w1-i1", action="cool", seconds=10**9).status_code == 400


@pytest.mark.parametrize(("group", "allowed"), [("Operator", True), ("Viewer", False), ("Team lead", False)])
def test_orders_are_given_by_operators_alone(group, allowed, instances):
    client = member(group)
    answer = client.post("/api/instances/w1-i1/actions/", json.dumps({"action": "stop"}), "application/json")
    assert (answer.status_code == 202) is allowed
    client.post(f"{LIST}w1-i1/drain/", {"confirmed": "yes"})
    client.post(LIST, {"action": "drain_selected", "_selected_action": ["w2-i1"], "confirmed": "yes"})
    client.post(f"{LIST}resume/")
    orders = {row.name: row.mode for row in InstanceOrder.objects.all()}
    assert orders == ({"w1-i1": Mode.DRAIN, "w2-i1": Mode.DRAIN, "all": Mode.RUN} if allowed else {})


def test_console_asks_first(admin_client, instances):
    page = admin_client.get(f"{LIST}w1-i1/stop/").content.decode()
    assert "end until they are started again" in page
    chosen = {"action": "restart_selected", "_selected_action": ["w1-i1", "w2-i1"]}
    assert "A successor starts beside each" in admin_client.post(LIST, chosen).content.decode()
    assert modes() == {}
    done = admin_client.post(LIST, chosen | {"confirmed": "yes"}, follow=True).content.decode()
    assert "Restart: w1-i1, w2-i1." in done
    assert set(modes()) == {"w1-i1", "w2-i1"}


def test_order_reaches_whom_the_question_named(admin_client, instances):
    for name in ("w1-i1", "w2-i1"):
        beat(instances, name, "failed")
    failed, chosen = f"{LIST}?state__exact=failed", {"action": "restart_selected"}
    chosen["_selected_action"] = ["w1-i1", "w2-i1"]
    assert "w2-i1" in admin_client.post(failed, chosen).content.decode()
    beat(instances, "w2-i1", "starting")
    answer = admin_client.post(failed, chosen | {"confirmed": "yes"})
    assert set(modes()) == {"w1-i1", "w2-i1"}
    assert answer["Location"] == failed


def test_instance_of_odd_machine_is_ordered_about(admin_client, instances):
    # Their names have what addresses of the console write in another way.
    name = "rack_5C-w1-i1"
    beat(instances, name)
    page = admin_client.get(f"{LIST}rack_5F5C-w1-i1/change/").content.decode()
    [button] = re.findall(r'href="([^"]*/drain/)"', page)
    assert name in admin_client.get(button).content.decode()
    admin_client.post(button, {"confirmed": "yes"})
    assert modes() == {name: Mode.DRAIN}


def test_console_says_what_is_held(admin_client, instances):
    by_command("drain", "w2-i1")
    beat(instances, "w2-i1", "draining")
    overview = admin_client.get("/admin/").content.decode()
    assert re.search(r"Instance w2-i1: held by order since [^.]+\. Start what is to take turns again\.", overview)
    assert "It is held by order" in admin_client.get(f"{LIST}w2-i1/change/").content.decode()
    by_command("start", "w2-i1")
    assert "held by order" not in admin_client.get("/admin/").content.decode()


def test_console_pauses_and_starts_the_pool(admin_client, instances):
    assert "Requests are refused meanwhile" in admin_client.get(f"{LIST}pause/").content.decode()
    assert not InstanceOrder.objects.exists()
    admin_client.post(f"{LIST}pause/")
    assert modes() == {EVERY: Mode.DRAIN}
    assert "The pool is paused by order" in admin_client.get("/admin/").content.decode()
    assert "It is held by order" in admin_client.get(f"{LIST}w2-i1/change/").content.decode()
    admin_client.post(f"{LIST}resume/")
    assert "paused by order" not in admin_client.get("/admin/").content.decode()
    rows = AuditEntry.objects.filter(object_type="bridge.instanceorder").values_list("source", "object_text")
    assert list(rows) == [("console", "all")] * 2


@pytest.mark.django_db(transaction=True)
async def test_every_process_hears_of_an_order(redis_server):
    link, heard = RedisLink(redis_server, timeout=30), []
    await link.execute("FLUSHALL")
    watcher = wanted_watcher(link, lambda wanted: heard.append(wanted.orders))
    await watcher.refresh()
    await InstanceOrder(name="w1-i1", mode=Mode.DRAIN).asave()
    await watcher.refresh()
    await watcher.refresh()
    assert [{name: order.mode for name, order in orders.items()} for orders in heard] == [{}, {"w1-i1": Mode.DRAIN}]
    await link.close()


@pytest.mark.django_db(transaction=True)
async def test_order_is_heard_of_without_redis(settings, tmp_path):
    """Nobody can announce it; each process finds it at its next look, also the last one before Redis is back."""
    settings.REDIS_URL = f"unix://{tmp_path / 'redis.sock'}"
    server, heard = start_redis(tmp_path), {}
    links = [RedisLink(settings.REDIS_URL, timeout=30, part="") for _ in range(2)]
    watchers = [wanted_watcher(each, partial(heard.__setitem__, number)) for number, each in enumerate(links)]

    async def each_has(mode):
        for watcher in watchers:
            await watcher.refresh()
        assert [wanted.orders.get(EVERY, Order()).mode for wanted in heard.values()] == [mode] * 2

    await each_has(Mode.RUN)
    server.kill()
    server.wait()
    for action, mode in (("drain", Mode.DRAIN), ("stop", Mode.STOP)):
        await sync_to_async(by_command)(action, "all")
        await each_has(mode)
    await sync_to_async(by_command)("start", "all")
    server = start_redis(tmp_path)
    async with asyncio.timeout(60):
        while not all(each.available for each in links):
            await asyncio.sleep(0.02)
    await each_has(Mode.RUN)
    for link in links:
        await link.close()
    server.kill()
    server.wait()

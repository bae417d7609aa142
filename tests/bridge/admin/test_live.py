"""The live page in the console, without its scripts."""

import re
import time

import msgspec
import pytest
import redis
from django.contrib.auth.models import Permission
from django.urls import reverse

from accounts.models import ApiKey
from bridge.admin import live as page_module
from bridge.admin.live import SOCKET
from bridge.fleet.live_view import live_instance
from bridge.fleet.log_tail_facts import LogTailFacts
from bridge.http import live
from bridge.models import InstanceOrder, Login
from bridge.status.live import LiveKey, LiveRates, LiveReport, LiveTurn
from bridge.status.states import InstanceState
from bridge.status.wanted import Maintenance, Mode
from gateway_project.lib import degraded
from gateway_project.server import websocket
from tests.bridge.fleet.test_live_view import status

pytestmark = pytest.mark.django_db
PAGE, NOW = reverse("admin:live"), reverse("admin:live_now")
LOG, LOG_NOW = reverse("admin:live_log", args=["w1-i1"]), reverse("admin:live_log_now", args=["w1-i1"])


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    """No process is there that might still report."""
    monkeypatch.setattr(page_module, "WAIT_SEC", 0.0)


@pytest.fixture
def running(redis_server, settings):
    """`running(*statuses, reports=…)`: heartbeats of these instances, and what processes have reported."""
    settings.REDIS_URL = redis_server
    with redis.Redis.from_url(redis_server) as client:
        client.flushdb()

        def running(*statuses, reports=()):
            for each in statuses:
                client.set(f"lgw:instance:{each.name}", msgspec.json.encode(each))
            for number, each in enumerate(reports):
                client.hset("lgw:live", f"run{number}", b"%d %b" % (time.time(), msgspec.json.encode(each)))

        running.client = client
        yield running
        client.flushdb()


def busy(**fields):
    """A process with a turn that waits and one that writes."""
    now = time.time()
    turns = [
        LiveTurn("req_aaaabbbbcccc", 7, "alice", "qwen", "codex", now - 75, "w1-i1", 812),
        LiveTurn("req_dddd", 8, "bob", "qwen", "curl", now - 3),
    ]
    given = {"turns": turns, "queue": [LiveKey(8, "bob", 1, now - 3)], "rates": LiveRates(40, 2, 6000, 1500)}
    return LiveReport(
        "web-1", 1, now, [live_instance(status())], 1, 1, pid=9, memory=200 << 20, backlog=12, **given | fields
    )


def text_of(answer):
    return " ".join(answer.content.decode().split())


@pytest.mark.parametrize(
    ("word", "shown"),
    [({"state": "dreaming"}, ">dreaming<"), ({"account": "odd"}, ">odd<"), ({"cools_for": "tired"}, "by order for")],
)
def test_words_of_another_build_are_shown(admin_client, running, word, shown):
    instance = msgspec.structs.replace(live_instance(status(cool_until=time.time() + 60)), **word)
    running(reports=[LiveReport("web-1", 1, time.time(), [instance], 0, 0)])
    assert shown in text_of(admin_client.get(PAGE))


def test_part_that_is_away_is_named_in_chinese(admin_client, running):
    degraded.begin("database", "no sign of life")
    for path in (PAGE, reverse("admin:index")):
        page = text_of(admin_client.get(path, headers={"accept-language": "zh-hans"}))
        assert re.search("降级[^<]*：数据库[^<]*没有心跳", page), path
        assert "database" not in page.partition("降级")[2][:200]


def test_page_is_right_when_it_is_loaded(admin_client, running):
    running(status("w1-i1"), status("w2-i1", 2, state=InstanceState.LOGIN_REQUIRED, cool_until=time.time() + 60))
    page = text_of(admin_client.get(PAGE))
    assert 'data-row="w1-i1"' in page
    assert "login required" in page
    assert "2 / 8" in page
    assert re.search(r"by order for [1-6]\d s", page)
    assert reverse("admin:bridge_instance_drain_one", args=["w2-i1"]) in page
    assert 'data-figure="load">4 / 8<' in page
    assert 'data-figure="turns">–<' in page


def test_windows_that_are_open_are_shown(admin_client, running):
    running(status("w1-i1", state="draining", maintenance=Maintenance("updates", Mode.DRAIN, time.time() + 90)))
    page = text_of(admin_client.get(PAGE))
    assert "maintenance window updates, for 1:" in page
    assert "data-held>Every instance is held" in page


def test_turns_queue_and_figures_are_shown(admin_client, running):
    running(reports=[busy()])
    page = text_of(admin_client.get(PAGE))
    for field, text in {
        "short": "…bbbbcccc", "age": r"1:[1-5]\d", "first": "812 ms", "phase": "writes", "longest": r"0:[0-5]\d",
        "key": "bob", "memory": r"200\.0 MB",
    }.items():  # fmt: skip
        assert re.search(f'data-field="{field}">{text}<', page), field
    for figure, text in {"turns": "40", "failed": "2", "first": "1.5 s", "tokens": "100", "backlog": "12"}.items():
        assert f'data-figure="{figure}">{text}<' in page
    assert reverse("usage_request", args=["req_aaaabbbbcccc"]) in page
    assert reverse("admin:accounts_apikey_change", args=[7]) in page
    assert "waits for a place" in page


def test_logins_are_shown(admin_client, running):
    Login.objects.create(label="mona", kind="browser", generation=4, account="expired")
    page = text_of(admin_client.get(PAGE))
    assert 'data-field="label">mona<' in page
    assert "the login to Lingma has expired" in page


def test_page_waits_for_first_reports(admin_client, running, monkeypatch):
    monkeypatch.setattr(page_module, "WAIT_SEC", 30.0)
    running(status("w1-i1"))
    monkeypatch.setattr(page_module.time, "sleep", lambda _: running(reports=[busy()]))
    assert "…bbbbcccc" in text_of(admin_client.get(PAGE))
    assert 0 < running.client.ttl("lgw:watched") <= 5


def test_one_address_names_the_socket_everywhere():
    assert {SOCKET} == {live.PATH} == websocket.PATHS


def test_polled_snapshot_is_that_of_the_socket(admin_client, running):
    running(status("w2-i1", 2), status("w1-i1"), reports=[busy()])
    found = msgspec.json.decode(admin_client.get(NOW).content)
    assert [each["name"] for each in found["instances"]] == ["w1-i1", "w2-i1"]
    assert [(each["name"], each["in_flight"]) for each in found["processes"]] == [("web-1", 1), ("web-2", 2)]
    assert [each["id"] for each in found["turns"]] == ["req_aaaabbbbcccc", "req_dddd"]


def test_redis_away_is_said(admin_client, settings):
    settings.REDIS_URL = "redis://127.0.0.1:1"
    assert "Redis cannot be reached" in admin_client.get(PAGE).content.decode()
    assert admin_client.get(NOW).status_code == 503
    assert "Redis cannot be reached" in admin_client.get(LOG).content.decode()


def test_rights_decide_what_is_shown(client, running, django_user_model):
    running(status("w1-i1"), reports=[busy()])
    user = django_user_model.objects.create_user("ann", is_staff=True)
    client.force_login(user)
    assert client.get(PAGE).status_code == client.get(NOW).status_code == 403
    user.user_permissions.add(Permission.objects.get(codename="view_instance"))
    page = text_of(client.get(PAGE))
    assert 'data-list="instances"' in page
    assert "alice" not in page
    assert "formaction" not in page
    assert "alice" not in client.get(NOW).content.decode()
    user.user_permissions.add(*Permission.objects.filter(codename__in=["view_usage", "view_login"]))
    running(reports=[busy()])  # none is shown for long
    page = text_of(client.get(PAGE))
    assert "alice" in page
    assert "/accounts/apikey/" not in page
    assert client.get(LOG).status_code == client.get(LOG_NOW).status_code == 403


def test_size_and_version_are_one_link_away(client, admin_client, running, django_user_model):
    places = [f'href="{reverse(name)}"' for name in ("admin:bridge_instance_size", "admin:bridge_version_changelist")]

    def linked(who):
        section = who.get(PAGE).content.decode().partition('<section class="gw-live"')[2]  # the menu has links too
        return [place in section for place in places]

    assert linked(admin_client) == [True, True]
    viewer = django_user_model.objects.create_user("viewer", password="x", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_instance"))
    client.force_login(viewer)
    assert linked(client) == [False, False]


def test_script_hears_at_once_what_was_ordered(admin_client, running):
    running(status("w1-i1"))
    script = {"X-Requested-With": "fetch"}
    address = reverse("admin:bridge_instance_drain_one", args=["w1-i1"])
    answer = admin_client.post(address, {"confirmed": "yes"}, headers=script)
    assert (answer.status_code, answer.content) == (200, b"Drain: w1-i1. It begins within two seconds.")
    assert InstanceOrder.objects.get().mode == Mode.DRAIN
    address = reverse("admin:bridge_instance_relogin_one", args=["w1-i1"])
    answer = admin_client.post(address, {"confirmed": "yes"}, headers=script)
    assert answer.status_code == 409
    assert answer.content.startswith(b"No login of this gateway is assigned to w1-i1. Give it one:")
    assert "begins within" not in text_of(admin_client.get(PAGE))


def test_end_of_a_log_is_shown(admin_client, running):
    running.client.set("lgw:log:w1-i1", msgspec.json.encode(LogTailFacts(["one", "<two>"])))
    assert "one &lt;two&gt;" in text_of(admin_client.get(LOG))
    assert admin_client.get(LOG_NOW).json() == {"lines": ["one", "<two>"], "why": ""}
    assert running.client.exists("lgw:log_wanted:w1-i1", "lgw:watched") == 2
    running.client.delete("lgw:log:w1-i1")
    assert "has not sent it yet" in text_of(admin_client.get(LOG))
    assert admin_client.get(reverse("admin:live_log", args=["x" * 101])).status_code == 404


def test_names_of_keys_are_harmless(admin_client, running):
    ApiKey.objects.create(name="x", digest="x")
    turn = LiveTurn("req_1", 1, "<b>x</b>", "m", "curl", time.time())
    running(reports=[busy(turns=[turn])])
    assert "<b>x" not in text_of(admin_client.get(PAGE))

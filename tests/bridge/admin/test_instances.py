"""What operators see of the instances."""

import re
import time
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone, translation

from accounts.models import Alert
from bridge.admin.panels import instance_figure
from bridge.admin.troubles import trouble_of_mode
from bridge.fleet.modes import NONE_READY, SILENT
from bridge.models import Instance
from bridge.status.accounts import AccountState
from bridge.status.smoke import SmokeReport
from bridge.status.states import InstanceState
from bridge.status.transitions import Transition, TransitionReason
from bridge.tasks import check_instances
from gateway_project.lib import degraded
from gateway_project.lib.degraded import Mode

LIST = reverse("admin:bridge_instance_changelist")


def text(page):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page.content.decode()))


def test_the_list_shows_the_state_of_this_moment(admin_client, beat):
    beat("w1-i1")
    beat("w2-i1", state="login_required", login=False, last_error="the login has expired")
    page = text(admin_client.get(LIST))
    for fact in ("w1-i1", "ready", "2 / 8", "2.5.1", "w2-i1", "login required", "the login has expired"):
        assert fact in page


def test_instance_without_heartbeat_is_shown_as_gone(admin_client, beat, heartbeats):
    beat("w1-i1")
    check_instances()
    heartbeats.flushdb()
    assert " gone " in text(admin_client.get(LIST))


def test_pause_that_another_build_made_is_shown(admin_client, beat):
    beat("w1-i1", cools_for="tired", cool_until=time.time() + 60)
    assert "by order for" in text(admin_client.get(LIST))


def test_list_without_redis_explains_itself(admin_client, beat, settings):
    beat("w1-i1")
    check_instances()
    settings.REDIS_URL = "unix:///nowhere/redis.sock"
    page = text(admin_client.get(LIST))
    assert page.count("Redis cannot be reached") == 1
    assert "w1-i1" in page


def test_page_shows_timeline_with_reasons(admin_client, beat, heartbeats):
    beat("w1-i1", replacing=True)
    for step in (
        Transition(time.time() - 60, InstanceState.BACKOFF, TransitionReason.FAILED, "the program exited with code 1"),
        Transition(time.time(), InstanceState.READY, TransitionReason.REPLACING, "a restart is ordered"),
    ):
        heartbeats.lpush("lgw:timeline:w1-i1", msgspec.json.encode(step))
    page = text(admin_client.get(reverse("admin:bridge_instance_change", args=["w1-i1"])))
    assert "ready a successor is started beside it: a restart is ordered" in page
    assert "backing off it failed: the program exited with code 1" in page
    assert "a successor is starting" in text(admin_client.get(LIST))


def test_page_names_what_answers_in_chinese(admin_client, beat):
    beat("w1-i1", upstream="simulator")
    address = reverse("admin:bridge_instance_change", args=["w1-i1"])
    assert "上游 模拟器" in text(admin_client.get(address, headers={"accept-language": "zh-hans"}))


@pytest.mark.parametrize(
    ("why", "shown"), [(SILENT, "没有心跳"), (NONE_READY, "没有就绪的实例"), ("ECONNRESET", "ECONNRESET")]
)
def test_reason_of_a_mode_is_translated(why, shown):
    with translation.override("zh-hans"):
        assert f"（{shown}）" in trouble_of_mode(Mode("worker", why, 5.0)).line


def test_page_without_redis_has_no_timeline(admin_client, beat, settings):
    beat("w1-i1")
    check_instances()
    settings.REDIS_URL = "unix:///nowhere/redis.sock"
    page = admin_client.get(reverse("admin:bridge_instance_change", args=["w1-i1"]))
    assert (page.status_code, "w1-i1" in text(page)) == (200, True)


def test_a_look_writes_nothing(admin_client, beat):
    beat("w1-i1")
    with CaptureQueriesContext(connection) as queries:
        for page in (LIST, reverse("admin:index"), reverse("admin:bridge_instance_change", args=["w1-i1"])):
            assert "w1-i1" in text(admin_client.get(page)) or page == reverse("admin:index")
    assert {query["sql"].split()[0] for query in queries} == {"SELECT"}
    assert not Instance.objects.exists()


def test_list_filters_searches_and_sorts_like_the_table(admin_client, beat):
    beat("w1-i1", in_flight=3, started_at=0)
    beat("w1-i2", in_flight=1, state="backoff", login=False, last_error='it\'s gone: 100 % "odd" 通义')
    for asked, listed in [
        ({"state__exact": "backoff"}, ["w1-i2"]), ({"login__exact": "1"}, ["w1-i1"]), ({"q": "ODD"}, ["w1-i2"]),
        ({"upstream": "lingma", "o": "3"}, ["w1-i2", "w1-i1"]), ({"o": "-3"}, ["w1-i1", "w1-i2"]), ({"q": "x"}, []),
    ]:  # fmt: skip
        page = admin_client.get(LIST, asked)
        assert [row.name for row in page.context["cl"].result_list] == listed, asked


@pytest.mark.parametrize("page", [LIST, "/admin/bridge/instance/w1-i1/change/", "/admin/", "/admin/live/"])
def test_error_in_our_words_is_translated(admin_client, beat, page):
    beat("w1-i1", state="login_required", login=False, last_error=AccountState.LOGGED_OUT.label)
    answer = admin_client.get(page, headers={"accept-language": "zh-hans"}).content.decode()
    shown = re.sub(r"<script.*?</script>", "", answer, flags=re.DOTALL)
    assert "未登录灵码" in shown
    assert AccountState.LOGGED_OUT.label not in shown


def test_empty_list_explains_why(admin_client, heartbeats):
    assert "no web process is running" in text(admin_client.get(LIST))


@pytest.mark.parametrize("page", ["add", "change", "delete"])
def test_instances_cannot_be_edited_by_hand(admin_client, beat, page):
    beat("w1-i1")
    admin_client.get(LIST)
    check_instances()
    url = reverse(f"admin:bridge_instance_{page}", args=[] if page == "add" else ["w1-i1"])
    assert admin_client.post(url, {"post": "yes"}).status_code == 403
    assert Instance.objects.count() == 1


def test_the_list_costs_no_query_per_instance(admin_client, beat, django_assert_num_queries):
    for number in range(5):
        beat(f"w1-i{number}")
    admin_client.get(LIST)
    with django_assert_num_queries(7):
        admin_client.get(LIST)


def test_overview_shows_what_is_broken(admin_client, beat):
    beat("w1-i1")
    beat("w1-i2", state="login_required", login=False, last_error="the login has expired")
    page = text(admin_client.get(reverse("admin:index")))
    assert "Instances ready 1 / 2" in page
    assert "Instance w1-i2: login required (the login has expired)" in page
    beat("w2-i1", process=2)
    beat("w2-i2", process=2, state="login_required", login=False, last_error="the login has expired")
    page = text(admin_client.get(reverse("admin:index")))
    assert "2 instances, w1-i2 and w2-i2: login required" in page


def test_overview_begins_with_a_verdict(admin_client, beat, heartbeats, monkeypatch):
    beat("w1-i1", state="login_required", login=False)
    assert "Down: no instance can take a turn." in text(admin_client.get(reverse("admin:index")))
    beat("w1-i2")
    assert "Degraded: it works, but not all of it." in text(admin_client.get(reverse("admin:index")))
    before = timezone.now()
    beat("w1-i1")
    monkeypatch.setattr(degraded, "_last_end", [])
    since = r"Well since (\d{4}-\d\d-\d\d \d\d:\d\d) UTC: every instance is ready"
    started = re.search(since, text(admin_client.get(reverse("admin:index"))))[1]
    now = timezone.now()
    # A minute may have begun meanwhile.
    assert started in {f"{each - timedelta(hours=2):%Y-%m-%d %H:%M}" for each in (before, now)}
    Alert.objects.create(kind="redis_away", lasts=True, began_at=now - timedelta(hours=1), latest_at=now, ended_at=now)
    assert re.search(since, text(admin_client.get(reverse("admin:index"))))[1] == f"{now:%Y-%m-%d %H:%M}"
    degraded.begin("disk", "ENOSPC")
    degraded.end("disk")
    monkeypatch.setattr(degraded, "_last_end", [degraded.last_end() + 3600])
    later = datetime.fromtimestamp(degraded.last_end(), UTC)
    assert re.search(since, text(admin_client.get(reverse("admin:index"))))[1] == f"{later:%Y-%m-%d %H:%M}"
    check_instances()
    heartbeats.delete("lgw:instance:w1-i1")
    page = text(admin_client.get(reverse("admin:index")))
    assert re.search(r"Degraded since \d{4}-\d\d-\d\d \d\d:\d\d UTC: it works", page)


def test_overview_misses_an_instance_for_an_hour(admin_client, beat, heartbeats):
    beat("w1-i1")
    beat("w1-i2", at=time.time() - 60)
    beat("w1-i3", at=time.time() - 7200)
    check_instances()
    heartbeats.delete("lgw:instance:w1-i2", "lgw:instance:w1-i3")
    page = text(admin_client.get(reverse("admin:index")))
    assert "Instances ready 1 / 2" in page
    assert "Instance w1-i2: gone" in page
    assert "w1-i3" not in page


def test_many_instances_that_are_gone_are_one_line(admin_client, beat, heartbeats):
    beat("w1-i1")
    for number in range(1, 40):
        beat(f"w2-i{number}", process=2, last_error="it exited " + "and " * 200)
    check_instances()
    heartbeats.delete(*(f"lgw:instance:w2-i{number}" for number in range(1, 40)))
    response = admin_client.get(reverse("admin:index"))
    page = text(response)
    assert "Instances ready 1 / 40" in page
    assert re.search(r"39 instances, w2-i1 to w2-i9: gone since \d\d:\d\d:\d\d UTC \(it exited", page)
    assert response.content.count(b"errornote") == 1
    assert max(map(len, response.content.decode().partition("errornote")[2].partition("</div>")[0].splitlines())) < 500
    shown = text(admin_client.get(LIST, {"state__exact": "gone"}))
    assert "w2-i39" in shown
    assert "w1-i1" not in shown


def test_overview_shows_that_nobody_files_turns(admin_client, heartbeats):
    heartbeats.xadd("lgw:usage", {"row": b"{}"}, id=f"{int((time.time() - 90) * 1000)}-0")
    assert "Is the Celery worker running?" in text(admin_client.get(reverse("admin:index")))


def test_overview_shows_that_redis_is_gone(admin_client, settings):
    settings.REDIS_URL = "unix:///nowhere/redis.sock"
    assert "Redis cannot be reached" in text(admin_client.get(reverse("admin:index")))


def test_overview_says_how_old_a_copy_is(admin_client, beat, settings):
    beat("w1-i1")
    check_instances()
    settings.REDIS_URL = "unix:///nowhere/redis.sock"
    now = timezone.now()
    for age, tone in ((1, "good"), (90, "")):
        seen = now - timedelta(seconds=age)
        Instance.objects.update(seen_at=seen)
        assert f"The page shows the last copy, of {seen:%Y-%m-%d %H:%M:%S} UTC." in text(
            admin_client.get(reverse("admin:index"))
        )
        assert instance_figure(list(Instance.objects.all())).tone == tone


def test_a_generation_may_be_a_time_in_milliseconds(admin_client, beat):
    beat("w1-i1", generation=1_795_348_054_719)
    assert admin_client.get(LIST).context["cl"].result_list[0].generation == 1_795_348_054_719
    check_instances()
    assert Instance.objects.get().generation == 1_795_348_054_719


def test_overview_counts_who_waits_by_process(admin_client, beat):
    for name, process in (("w1-i1", 1), ("w1-i2", 1), ("w2-i1", 2)):
        beat(name, process=process, waiting=3 * process)
    assert "Turns that wait for a place 9" in text(admin_client.get(reverse("admin:index")))


@pytest.mark.parametrize(
    ("why", "words"),
    [("", "by order"), ("limited", "rate limited"), ("no_plan", "plan used up"), ("failed", "turns failed")],
)
def test_pauses_have_a_countdown(admin_client, beat, why, words):
    now = time.time()
    beat("w1-i1", state=InstanceState.COOLING, at=now, cool_until=now + 90, cools_for=why)
    page = text(admin_client.get(LIST))
    assert words in page
    assert re.search(r"[6-9]\d s", page)
    found = admin_client.get("/api/instances/w1-i1/").json()
    assert found["cools_for"] == why
    assert found["cool_until"]


def test_page_shows_what_an_instance_takes(admin_client, beat):
    beat("w1-i1", memory=300 << 20, disk=5 << 30, stuck=2)
    beat("w2-i1", upstream="attached")
    assert "300.0 MB" in text(admin_client.get(LIST))
    page = text(admin_client.get(reverse("admin:bridge_instance_change", args=["w1-i1"])))
    for words in ("Memory 300.0 MB", "Work directory 5.0 GB", "Turns that stand still 2"):
        assert words in page.replace("\xa0", " ")
    shown = [admin_client.get(f"/api/instances/{name}/").json() for name in ("w1-i1", "w2-i1")]
    facts = [[row[each] for each in ("memory_bytes", "disk_bytes", "stuck_turns")] for row in shown]
    assert facts == [[300 << 20, 5 << 30, 2], [None, None, 0]]


@pytest.mark.parametrize(
    ("smoke", "words"),
    [
        (SmokeReport(time.time(), ok=True, total_ms=320), "answered in 320 ms"),
        (SmokeReport(time.time(), ok=False, error="it answered nothing", failed=1), "it answered nothing"),
    ],
    ids=["ok", "failed"],
)
def test_last_short_chat_is_on_the_page(admin_client, beat, smoke, words):
    beat("w1-i1", smoke=smoke)
    assert words in text(admin_client.get(reverse("admin:bridge_instance_change", args=["w1-i1"])))
    found = admin_client.get("/api/instances/w1-i1/").json()["smoke"]
    assert (found["ok"], found["failed"]) == (smoke.ok, smoke.failed)

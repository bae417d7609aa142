"""What the first page of the console says of each trouble: which instances, since when, and what to do."""

import html
import re
import time
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from django.urls import reverse
from django.utils import timezone

from accounts.models import Alert
from bridge.fleet.orders import Action, order
from bridge.models import InstanceOrder
from bridge.status.accounts import AccountState
from bridge.status.states import OWN_STATES, InstanceState
from bridge.status.transitions import Transition, TransitionReason
from bridge.status.wanted import Maintenance, Mode
from bridge.tasks import check_instances

pytestmark = pytest.mark.django_db
BROKEN = [each for each in OWN_STATES if each.needs_attention]


def troubles(client):
    """The lines of the page, as they are read."""
    page = client.get(reverse("admin:index")).content.decode()
    found = re.findall(r"gw-trouble[^>]*>(.*?)</div>", page, re.S)
    return [" ".join(html.unescape(re.sub(r"<[^>]*>", " ", each)).split()) for each in found]


def verdict(client):
    page = client.get(reverse("admin:index")).content.decode()
    return re.search(r"gw-verdict[^>]*>([^<]*)<", page)[1]


@pytest.fixture
def step(heartbeats):
    def step(name, ago, state, why=TransitionReason.ACCOUNT):
        """Put it into the timeline; its time, as pages show it."""
        at = time.time() - ago
        heartbeats.lpush(f"lgw:timeline:{name}", msgspec.json.encode(Transition(at, state, why)))
        moment = datetime.fromtimestamp(at, UTC)
        same_day = moment.date() == timezone.now().date()
        return f"{moment:%H:%M:%S} UTC" if same_day else f"{moment:%Y-%m-%d %H:%M} UTC"

    return step


@pytest.mark.parametrize("state", BROKEN)
def test_state_says_since_when_and_what_helps(admin_client, beat, step, state):
    beat("w1-i1")
    beat("w1-i2", state=state, login=False, last_error="odd")
    step("w1-i2", 900, InstanceState.READY)
    since = step("w1-i2", 600, state)
    step("w1-i2", 60, state, TransitionReason.REPLACING)
    expected = f"Instance w1-i2: {state.label} since {since} (odd). {state.advice} Show it"
    assert troubles(admin_client) == [expected]
    assert state.advice.endswith(".")


def test_gone_instance_was_last_seen_then(admin_client, beat, heartbeats):
    beat("w1-i1")
    beat("w1-i2", account="no_licence")
    check_instances()
    heartbeats.delete("lgw:instance:w1-i2")
    (line,) = troubles(admin_client)
    found = re.fullmatch(r"Instance w1-i2: gone since [\d:-]+( [\d:]+)? UTC\. (.*) Show it", line)
    assert found[2] == InstanceState.GONE.advice


@pytest.mark.parametrize("account", [each for each in AccountState if each.advice])
def test_account_says_what_helps_its_instance(admin_client, beat, account):
    state = InstanceState.FAILED
    beat("w1-i1", state=state, account=account, login=False)
    assert troubles(admin_client) == [f"Instance w1-i1: failed. {account.advice} Show it"]
    page = admin_client.get(reverse("admin:bridge_instance_change", args=["w1-i1"])).content.decode()
    assert account.advice in html.unescape(page)


def test_causes_with_other_remedies_have_own_lines(admin_client, beat, step):
    for name, account in (("i1", "no_licence"), ("i2", "logged_out"), ("i3", "no_licence"), ("i4", "unknown")):
        beat(f"w1-{name}", state="failed", account=account, login=False)
    first = step("w1-i3", 7000, InstanceState.FAILED)
    step("w1-i1", 50, InstanceState.FAILED)
    lines = troubles(admin_client)
    assert lines[0].startswith(f"2 instances, w1-i1 and w1-i3: failed since {first}. An administrator")
    assert [line.partition(".")[0] for line in lines[1:]] == ["Instance w1-i2: failed", "Instance w1-i4: failed"]
    assert all(line.endswith(("Show it", "Show them")) for line in lines)


@pytest.mark.parametrize("by", ["order", "state"])
def test_hold_says_since_when(admin_client, beat, step, by):
    beat("w1-i1")
    beat("w1-i2", state="draining")
    moved = step("w1-i2", 300, InstanceState.DRAINING, TransitionReason.ORDER)
    ordered = timezone.now() - timedelta(seconds=400)
    InstanceOrder.objects.create(name="w1-i2", mode=Mode.DRAIN, mode_at=ordered if by == "order" else None)
    since = moved if by == "state" else timezone.localtime(ordered).strftime("%H:%M:%S UTC")
    (line,) = troubles(admin_client)
    held = re.fullmatch(r"Instance w1-i2: held by order since (.*)\. Start what is to take turns again\. Show it", line)
    assert held[1] == since or held[1].startswith(f"{ordered:%Y-%m-%d}")


def test_paused_pool_says_since_when(admin_client, beat, redis_server):
    beat("w1-i1", state="draining")
    order(Action.DRAIN, "all", redis_server)
    paused = InstanceOrder.objects.get(name="all").mode_at
    (line,) = troubles(admin_client)
    assert line.startswith(f"The pool is paused by order since {paused:%H:%M:%S} UTC: ")
    assert line.endswith("Start the pool")
    assert verdict(admin_client) == f"Down since {paused:%Y-%m-%d %H:%M} UTC: no instance can take a turn."


def test_window_says_since_when(admin_client, beat, step):
    beat("w1-i1")
    window = Maintenance("updates", Mode.DRAIN, time.time() + 90)
    for name in ("w1-i2", "w1-i3"):
        beat(name, state="draining", maintenance=window)
    first = step("w1-i2", 500, InstanceState.DRAINING, TransitionReason.MAINTENANCE)
    step("w1-i3", 400, InstanceState.DRAINING, TransitionReason.MAINTENANCE)
    step("w1-i2", 100, InstanceState.STOPPED, TransitionReason.ORDER)
    (line,) = troubles(admin_client)
    assert line.startswith(f"2 instances, w1-i2 and w1-i3: in maintenance since {first} until ")
    assert line.endswith(" UTC (updates). They take turns again by themselves. Show the window")


def test_down_begins_with_the_last_to_stop(admin_client, beat, step):
    for name, ago in (("w1-i1", 90_000), ("w1-i2", 700)):
        beat(name, state="login_required", login=False)
        step(name, 100_000, InstanceState.READY, TransitionReason.CONNECTED)
        step(name, ago, InstanceState.BACKOFF, TransitionReason.LOST)
        step(name, ago - 5, InstanceState.STARTING, TransitionReason.STARTED)
        step(name, ago - 9, InstanceState.LOGIN_REQUIRED)
    began = datetime.fromtimestamp(time.time() - 700, UTC)
    near = {f"{began + timedelta(seconds=each):%Y-%m-%d %H:%M}" for each in (-30, 0)}
    told = re.fullmatch(r"Down since (.*) UTC: no instance can take a turn\.", verdict(admin_client))[1]
    assert told in near


def test_time_of_another_day_has_its_date(admin_client, beat, step):
    beat("w1-i1", state="failed")
    since = step("w1-i1", 2 * 86_400, InstanceState.FAILED)
    assert f"failed since {since}." in troubles(admin_client)[0]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", since)


def test_redis_away_leaves_times_out(admin_client, beat, step, settings):
    beat("w1-i1", state="failed")
    step("w1-i1", 60, InstanceState.FAILED)
    check_instances()
    settings.REDIS_URL = "unix:///nowhere/redis.sock"
    assert troubles(admin_client)[-1] == f"Instance w1-i1: failed. {InstanceState.FAILED.advice} Show it"


@pytest.mark.parametrize("path", ["admin:index", "admin:accounts_alert_changelist"])
def test_alert_leads_to_the_login_it_names(admin_client, path):
    facts = ["<b> (https://gateway.example/admin/bridge/login/7/change/)", "a (javascript:alert)", 'b (/admin/"/)']
    Alert.objects.create(kind="login_person", facts=facts, count=3, lasts=True)
    page = admin_client.get(reverse(path)).content.decode()
    assert re.search(r'<a [^>]*href="/admin/bridge/login/7/change/">&lt;b&gt;</a>, a \(javascript:alert\), b', page)
    assert "gateway.example" not in page

"""What is an alert, and that it becomes one through the periodic task."""

import time
from datetime import timedelta

import msgspec
import pytest
import redis
from django.utils import timezone, translation

from accounts.alerts.words import KINDS, sentence
from accounts.models import Alert, ApiKey, Usage
from bridge.alerts.checks import CHECKS
from bridge.alerts.run import run
from bridge.alerts.stand_in import StandIn
from bridge.alerts.view import AlertOptions, View, _crashing, _need_person, without_quota
from bridge.chat.errors import NO_QUOTA
from bridge.fleet import attempts, mirror, modes
from bridge.models import Instance, InstanceOrder, Login, LoginAttempt
from bridge.status.attempts import AttemptResult
from bridge.status.instance import InstanceStatus
from bridge.status.smoke import Behaviour, SmokeReport
from bridge.tasks import check_alerts, check_instances
from gateway_project.lib import degraded
from gateway_project.lib.degraded import Mode
from gateway_project.lib.secrets.secrets_at_rest import Secret

FIND = {check.kind: check.find for check in CHECKS}
OPTIONS = AlertOptions()
TOLD = ("waiting", "replacing", "not_replaced", "smoke", "cools_for", "memory", "disk", "stuck", "is_named_twice")


@pytest.fixture
def key(db):
    return ApiKey.objects.create(name="poisoner", digest="poisoner")


def instance(name="i1", **fields):
    given = {
        "process": 1, "state": "ready", "login": True, "account": "logged_in", "version": "2.5", "upstream": "lingma",
        "models_offered": 1, "seen_at": timezone.now(),
    }  # fmt: skip
    told = {each: fields.pop(each) for each in TOLD if each in fields}
    row = Instance(name=name, **given | fields)
    for each, value in told.items():
        setattr(row, each, value)
    return row


def view(*instances, on=(), turns=0, failed=0):
    return View(timezone.now(), OPTIONS, instances, frozenset(on), turns, failed)


def kinds_of(looked):
    """The kinds that a look finds something for."""
    return {kind for kind, find in FIND.items() if any((find(looked) or {}).values())}


@pytest.mark.parametrize(
    ("fields", "kinds"),
    [
        ({}, set()),
        ({"state": "login_required", "login": False, "account": "expired"}, {"login_needed", "none_ready"}),
        ({"state": "failed", "account": "no_licence"}, {"account_blocked", "none_ready"}),
        ({"state": "failed"}, {"instances_failing", "none_ready"}),
        ({"state": "degraded", "account": "network_error"}, {"account_unreachable", "none_ready"}),
        ({"state": "degraded", "account": "error"}, {"account_unreachable", "none_ready"}),
        ({"state": "degraded", "account": "unknown"}, {"instances_failing", "none_ready"}),
        ({"state": "backoff", "account": "network_error"}, {"instances_failing", "none_ready"}),
        ({"state": "starting"}, {"instances_failing", "none_ready"}),
        ({"state": "gone", "login": False}, {"instances_gone", "none_ready"}),
        ({"login_expires_at": timezone.now() + timedelta(days=2, hours=23)}, {"login_expiring"}),
        ({"login_expires_at": timezone.now() + timedelta(days=3, hours=1)}, set()),
        ({"models_offered": 0}, {"no_models"}),
        ({"state": "busy", "models_offered": 0}, {"no_models"}),
        ({"not_replaced": True}, {"not_replaced"}),
        ({"replacing": True}, set()),
        ({"smoke": SmokeReport(0.0, ok=False, failed=1)}, set()),
        ({"smoke": SmokeReport(0.0, ok=False, failed=2)}, {"smoke_failing"}),
        ({"cools_for": "limited"}, {"cooling_long"}),
        ({"cools_for": "no_plan"}, {"quota_used_up"}),
        ({"cools_for": "no_plan", "state": "gone"}, {"instances_gone", "none_ready"}),
        ({"waiting": 20}, {"queue_long"}),
        ({"waiting": 19}, set()),
        ({"memory": (2048 << 20) + 1, "disk": 5120 << 20}, {"memory_high"}),
        ({"memory": 2048 << 20, "disk": (5120 << 20) + 1}, {"disk_high"}),
        ({"stuck": 1}, {"turns_stuck"}),
        ({"is_named_twice": True}, {"named_twice"}),
    ],
)
def test_state_of_an_instance_is_its_kind(fields, kinds):
    assert kinds_of(view(instance(**fields))) == kinds


@pytest.mark.parametrize(("turns", "failed", "is_bad"), [(19, 19, False), (20, 4, True), (100, 19, False)])
def test_many_failures_are_an_alert(turns, failed, is_bad):
    assert ("turns_failing" in kinds_of(view(instance(), turns=turns, failed=failed))) is is_bad


def test_crashing_prompts_name_keys_and_requests(db, key):
    for number, (reason, status) in enumerate(
        [("crashing_prompt", "error"), ("crashing_prompt", "refused"), ("crashing_prompts", "refused"), ("", "ok")]
    ):
        Usage.objects.create(
            request_id=f"req-{number}", api_key=key, reason=reason, status=status, started_at=timezone.now(),
            stream=True, queue_ms=0, total_ms=1, prompt_tokens=0, completion_tokens=0,
        )  # fmt: skip
    named = _crashing(timezone.now())
    assert named == [f"{key}: req-0", str(key)]
    looked = View(timezone.now(), OPTIONS, [instance()], frozenset(), crashing=named)
    assert kinds_of(looked) == {"prompts_crash"}
    assert _crashing(timezone.now() + timedelta(minutes=6)) == []


def turn(number, key, instance, reason, status):
    return Usage.objects.create(
        request_id=f"req-{number}", api_key=key, instance=instance, reason=reason, status=status,
        started_at=timezone.now() - timedelta(seconds=60 - number), stream=True, queue_ms=0, total_ms=1,
        prompt_tokens=0, completion_tokens=0,
    )  # fmt: skip


def test_used_up_quota_ends_with_good_turn(db, key):
    for number, name in enumerate(("i1", "i2", "i1")):
        turn(number, key, name, NO_QUOTA, "error")
    assert without_quota(timezone.now()) == ["i1", "i2"]
    turn(3, key, "i2", "stop", "ok")
    assert without_quota(timezone.now()) == ["i1"]
    assert without_quota(timezone.now() + timedelta(minutes=6)) == []
    looked = View(timezone.now(), OPTIONS, [instance()], frozenset(), without_quota=["i1"])
    assert kinds_of(looked) == {"quota_used_up"}


def test_another_version_than_the_siblings_is_named():
    looked = view(instance("i1"), instance("i2"), instance("i3", version="2.6"), instance("i4", upstream="attached"))
    assert FIND["versions_differ"](looked) == {"": ["i3 (2.6)"]}


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("ledger", "ledger_wrong"), ("disk", "disk_full"), ("worker", "worker_away"), ("beat", "beat_away"),
     ("redis", "redis_away"), ("flush", "rows_wait")],
)  # fmt: skip
def test_mode_is_its_kind(mode, kind):
    assert kinds_of(view(instance(), on=[mode])) == {kind}


def test_alert_of_an_unknown_state_goes_on():
    looked = View(timezone.now(), OPTIONS, None, frozenset({"redis"}))
    unknown = {kind for kind, find in FIND.items() if find(looked) is None}
    assert unknown == FIND.keys() - {"redis_away", "login_person"}


def test_logins_that_need_somebody_are_named(db):
    in_two_days = timezone.now() + timedelta(days=2)
    by_hand = Login.objects.create(label="by hand", kind="browser", generation=1, expires_at=in_two_days)
    alone = {"kind": "ak_sk", "generation": 1, "credentials": Secret.of(b"k")}
    Login.objects.create(label="by itself", expires_at=in_two_days, **alone)
    tired = Login.objects.create(label="tired", account="expired", failures=3, **alone)
    asks = Login.objects.create(label="asks", kind="automatic", generation=1, credentials=Secret.of(b"k"))
    LoginAttempt.objects.create(login=asks, way="automatic", reason="schedule", state="needs_person", generation=1)
    looked = View(timezone.now(), OPTIONS, [], frozenset(), need_person=_need_person(OPTIONS, timezone.now()))
    assert FIND["login_person"](looked) == {
        "": [f"{each.label} (/admin/bridge/login/{each.pk}/change/)" for each in (asks, by_hand, tired)]
    }


def test_address_of_login_has_console_origin(db):
    found = Login.objects.create(label="main", kind="browser", generation=1, account="expired")
    options = AlertOptions(console="https://gateway.example.com")
    [name] = _need_person(options, timezone.now())
    assert name == f"main (https://gateway.example.com/admin/bridge/login/{found.pk}/change/)"


def attempt(login, ago, **columns):
    begun = timezone.now() - ago
    facts = {"way": "ak_sk", "reason": "schedule", "generation": 1, "begun_at": begun} | columns
    return LoginAttempt.objects.create(login=login, **facts)


def test_attempts_without_worker_are_an_alert(db):
    first, second = (Login.objects.create(label=label, kind="ak_sk", generation=1) for label in ("first", "second"))
    now, ended = timezone.now(), {"state": "failed", "result": "no_worker"}
    attempt(first, timedelta(minutes=5), ended_at=now - timedelta(minutes=3), **ended)
    waits = attempt(second, timedelta(seconds=50))
    assert attempts.not_taken(now) == ["first"]
    assert attempts.not_taken(now + timedelta(seconds=30)) == ["first", "second"]
    looked = View(now, OPTIONS, [instance()], frozenset(), not_taken=["first"])
    assert kinds_of(looked) == {"login_worker_away"}
    assert FIND["login_worker_away"](View(now, OPTIONS, [], frozenset({"redis"}), not_taken=["first"])) is None
    # A command takes its own attempt, and a service renews a login: neither is a login worker.
    attempt(first, timedelta(0), seen_at=now, ended_at=now, reason="command")
    LoginAttempt.note_renewal(first.pk, 1, AttemptResult.RENEWED)
    assert attempts.not_taken(now) == ["first"]
    LoginAttempt.objects.filter(pk=waits.pk).update(seen_at=now, state="starting")
    assert attempts.not_taken(now + timedelta(minutes=5)) == []


def test_every_kind_has_a_sentence_in_both_languages():
    for check in CHECKS:
        subject = "no_licence" if check.kind in ("account_blocked", "account_unreachable") else ""
        alert = Alert(kind=check.kind, subject=subject, facts=["w1-i1"], count=1)
        said = []
        for language in ("en", "zh-hans"):
            with translation.override(language):
                said.append((str(KINDS[check.kind].name), sentence(alert)))
        assert said[0][0] != said[1][0]
        assert said[0][1] != said[1][1]
        assert ("w1-i1" in said[0][1]) == ("%(names)s" in check.text)


def test_account_state_of_another_build_is_named(db, admin_client):
    Alert.objects.create(
        kind="account_blocked", subject="of_a_newer_build", facts=["w1-i1"], count=1, lasts=True,
        began_at=timezone.now(), latest_at=timezone.now(),
    )  # fmt: skip
    for page in ("/admin/", "/admin/accounts/alert/"):
        shown = admin_client.get(page)
        assert (shown.status_code, "of_a_newer_build" in shown.content.decode()) == (200, True), page


@pytest.fixture
def fleet(redis_server):
    """`fleet(state, names)`: heartbeats of those, and of no others."""
    with redis.Redis.from_url(redis_server) as client:

        def fleet(state, names, **fields):
            client.flushdb()
            for name in names:
                status = InstanceStatus(
                    name=name, process=1, pid=9, generation=1, state=state, login=True, in_flight=0, limit=8,
                    restarts=0, last_error="", version=fields.get("version", "2.5"), upstream="lingma", models=1,
                    started_at=0, at=time.time(), installed=fields.get("installed", ""),
                    smoke=fields.get("smoke"), is_named_twice=fields.get("is_named_twice", False),
                )  # fmt: skip
                client.set(f"lgw:instance:{name}", msgspec.json.encode(status))

        fleet.client = client
        yield fleet
        client.flushdb()
    modes._elsewhere.clear()
    for each in degraded.active():
        degraded.end(each.name)


@pytest.mark.django_db
def test_gone_instances_are_one_alert_that_ends(fleet, redis_server):
    names = [f"w1-i{number}" for number in range(40)]
    now = timezone.now()
    fleet("ready", names)
    mirror.refresh(redis_server)
    fleet("ready", names[:1])
    for seconds in (0, 30, 60, 90):
        run(redis_server, OPTIONS, now + timedelta(seconds=seconds))
    assert [(alert.kind, alert.count) for alert in Alert.objects.all()] == [("instances_gone", 39)]
    counts = msgspec.json.decode(fleet.client.get("lgw:alerts"))
    assert (counts["instances_gone"], counts["none_ready"]) == (1, 0)
    fleet("ready", names)
    for seconds in (105, 135):
        run(redis_server, OPTIONS, now + timedelta(seconds=seconds))
    assert Alert.objects.get().ended_at == now + timedelta(seconds=135)


@pytest.mark.django_db
def test_a_look_costs_little_while_nothing_is_wrong(fleet, redis_server, django_assert_max_num_queries):
    fleet("ready", ["w1-i1"])
    mirror.refresh(redis_server)
    run(redis_server, OPTIONS, timezone.now())
    with django_assert_max_num_queries(len(CHECKS)):
        run(redis_server, OPTIONS, timezone.now())
    assert not Alert.objects.exists()


@pytest.mark.django_db
def test_another_version_than_before_is_an_alert(fleet, redis_server):
    for version in ("2.5", "2.6"):
        fleet("ready", ["w1-i1", "w1-i2"], version=version)
        mirror.refresh(redis_server)
    alert = Alert.objects.get()
    assert (alert.kind, alert.facts) == ("version_changed", ["w1-i1: 2.5 → 2.6", "w1-i2: 2.5 → 2.6"])
    mirror.refresh(redis_server)
    assert Alert.objects.count() == 1


@pytest.mark.django_db
def test_a_move_to_another_version_is_none(fleet, redis_server):
    for version in ("2.5", "2.6"):
        fleet("ready", ["w1-i1"], version=version, installed=f"v{version}")
        mirror.refresh(redis_server)
    assert not Alert.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("version", "behaviour", "facts"),
    [
        ("2.6", "silent", ["w1-i1: 2.5 → 2.6: answers as asked → answers nothing"]), ("2.6", "as_asked", None),
        ("2.5", "fails", None), ("2.6", "", None),
    ],
)  # fmt: skip
def test_another_behaviour_in_another_version_is_an_alert(fleet, redis_server, version, behaviour, facts):
    for seen in (("2.5", "as_asked"), (version, behaviour)):
        smoke = SmokeReport(time.time(), ok=True, version=seen[0], behaviour=Behaviour(seen[1]))
        fleet("ready", ["w1-i1"], version=seen[0], installed=seen[0], smoke=smoke)
        mirror.refresh(redis_server)
        fleet("starting", ["w1-i1"], version=seen[0], installed=seen[0])  # its process has begun anew
        mirror.refresh(redis_server)
    assert [each.facts for each in Alert.objects.filter(kind="behaviour_changed")] == ([facts] if facts else [])


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("ok", "behaviour", "facts"),
    [(True, "other_words", ["w1-i1: 2.5: answers as asked → answers with other words"]), (False, "fails", None)],
)
def test_another_behaviour_of_one_version_counts_twice(fleet, redis_server, ok, behaviour, facts):
    """Once may be a model's whim; and that it fails is told by another alert."""
    for shown, times, raised in (("as_asked", 1, None), (behaviour, 1, None), (behaviour, 2, facts)):
        smoke = SmokeReport(
            time.time(), ok=ok or shown == "as_asked", version="2.5", behaviour=Behaviour(shown), times=times
        )
        fleet("ready", ["w1-i1"], version="2.5", smoke=smoke)
        mirror.refresh(redis_server)
        assert [each.facts for each in Alert.objects.filter(kind="behaviour_changed")] == ([raised] if raised else [])
    mirror.refresh(redis_server)
    assert Alert.objects.count() == bool(facts)


@pytest.mark.django_db
def test_instance_with_another_behaviour_is_asked_again(fleet):
    for shown, asked in (("as_asked", False), ("unknown_messages", True)):
        smoke = SmokeReport(time.time(), ok=True, version="2.5", behaviour=Behaviour(shown))
        fleet("ready", ["w1-i1"], version="2.5", smoke=smoke)
        check_instances()
        assert InstanceOrder.objects.filter(name="w1-i1", smoke_at__isnull=False).exists() == asked


@pytest.mark.django_db
def test_instance_of_another_version_is_asked_once(fleet):
    seen = SmokeReport(time.time(), ok=True, version="2.5", behaviour=Behaviour.AS_ASKED)
    for state, version, smoke, asked in (
        ("ready", "2.5", seen, False), ("starting", "2.6", None, False), ("ready", "2.6", None, True),
    ):  # fmt: skip
        fleet(state, ["w1-i1", "w1-i2"][: 2 if asked else 1], version=version, smoke=smoke)
        check_instances()
        rows = InstanceOrder.objects.values_list("name", "smoke_at")
        assert [name for name, at in rows if at] == (["w1-i1"] if asked else [])
    [before] = InstanceOrder.objects.values_list("smoke_at", flat=True)
    check_instances()
    assert InstanceOrder.objects.get().smoke_at == before


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("behaviour", "facts"), [("as_asked", []), ("silent", [["w1-i1: 2.5 → 2.6: answers nothing"]])]
)
def test_new_version_of_one_never_asked_is_asked(fleet, behaviour, facts):
    for version, asked in (("2.5", []), ("2.6", ["w1-i1"]), ("2.6", ["w1-i1"])):
        fleet("ready", ["w1-i1"], version=version)
        check_instances()
        assert list(InstanceOrder.objects.exclude(smoke_at=None).values_list("name", flat=True)) == asked
    smoke = SmokeReport(time.time(), ok=behaviour == "as_asked", version="2.6", behaviour=Behaviour(behaviour))
    fleet("ready", ["w1-i1"], version="2.6", smoke=smoke)
    check_instances()
    assert [each.facts for each in Alert.objects.filter(kind="behaviour_changed")] == facts


@pytest.mark.django_db
def test_name_of_two_gateways_is_an_alert(fleet, redis_server):
    fleet("ready", ["w1-i1"], is_named_twice=True)
    run(redis_server, OPTIONS, timezone.now())
    assert [(each.kind, each.facts) for each in Alert.objects.all()] == [("named_twice", ["w1-i1"])]


def drift(version, installed):
    canary = instance("i2", version=version)
    canary.installed = installed
    return FIND["versions_differ"](view(instance("i1"), canary, instance("i3")))


@pytest.mark.parametrize(
    ("version", "installed", "named"),
    [("2.6", "2.6", []), ("2.6", "v2.6", []), ("2.5", "2.6", ["i2 (2.5)"]), ("", "2.6", [])],
)
def test_drift_is_from_what_was_installed(version, installed, named):
    assert drift(version, installed) == {"": named}


@pytest.mark.django_db
def test_task_looks_once(fleet):
    fleet("ready", ["w1-i1"])
    check_alerts()
    assert not Alert.objects.exists()


@pytest.mark.django_db(transaction=True)
async def test_web_process_stands_in_for_the_worker(fleet, redis_server):
    stand_in = StandIn(redis_server, OPTIONS)
    fleet("ready", ["w1-i1"])
    assert not await stand_in.look()
    modes._elsewhere[:] = [Mode("worker", "no sign of life", 5.0)]
    fleet.client.set("lgw:modes:web-1", msgspec.json.encode(modes._elsewhere))
    assert await stand_in.look()
    assert fleet.client.get("lgw:alerts")

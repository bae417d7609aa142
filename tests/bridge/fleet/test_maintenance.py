"""Maintenance windows: planned in the console and by the API, read by every process, told to the audit log."""

import json
import time
from datetime import UTC, datetime, timedelta
from io import StringIO
from zoneinfo import ZoneInfo

import msgspec
import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from accounts.audit.context import unrecorded
from accounts.models import AuditEntry
from bridge.fleet.maintenance import WindowLog, settle
from bridge.fleet.wanted import read_wanted, wanted_watcher
from bridge.models import MaintenanceWindow
from bridge.pool.upkeep.maintenance import MaintenanceWindows
from bridge.pool.upkeep.windows import Window
from bridge.status.wanted import Maintenance, Mode
from gateway_project.lib.redis.redis_link import RedisLink
from tests.bridge.fleet.test_orders import beat, member
from tests.bridge.fleet.test_orders import instances as instances

pytestmark = pytest.mark.django_db
API = "/api/maintenance-windows/"
LIST = "/admin/bridge/maintenancewindow/"
BODY = {"name": "nightly", "starts_at": "2026-11-29T02:00:00Z", "ends_at": "2026-11-29T04:00:00Z"}


def post(client, path=API, method="post", **changes):
    return getattr(client, method)(path, json.dumps(BODY | changes), "application/json")


def log():
    rows = AuditEntry.objects.filter(object_type="bridge.maintenancewindow").order_by("id")
    return [(each.source, each.actor, each.action, each.object_text) for each in rows]


@pytest.fixture
def window():
    with unrecorded():
        now = timezone.now()
        return MaintenanceWindow.objects.create(
            name="nightly", starts_at=now - timedelta(hours=1), ends_at=now + timedelta(hours=1)
        )


def test_api_plans_changes_and_deletes(admin_client):
    # Far away: one of each week since a day that has been is open whenever its hours come.
    begins = {"starts_at": "2100-11-28T02:00:00Z", "ends_at": "2100-11-28T04:00:00Z", "time_zone": "Asia/Shanghai"}
    made = post(admin_client, instances=["w1-i1", "w1-i1"], mode="stop", weekly=True, **begins)
    assert made.status_code == 201, made.content
    found = made.json()
    assert (found["instances"], found["mode"], found["is_open"]) == (["w1-i1"], "stop", False)
    assert datetime.fromisoformat(found["closes_at"]) - datetime.fromisoformat(found["opens_at"]) == timedelta(hours=2)
    [read] = read_wanted().windows
    times = (datetime(2100, 11, 28, hour, tzinfo=UTC).timestamp() for hour in (2, 4))
    assert read == Window(found["id"], "nightly", Mode.STOP, *times, True, "Asia/Shanghai", ("w1-i1",))
    one = f"{API}{found['id']}/"
    assert admin_client.patch(one, json.dumps({"enabled": False}), "application/json").status_code == 200
    assert read_wanted().windows == ()
    assert admin_client.delete(one).status_code == 204
    assert [entry[2:] for entry in log()] == [(each, "nightly") for each in ("created", "changed", "deleted")]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"ends_at": "2026-11-29T02:00:00Z"}, "ends"), ({"time_zone": "Nowhere/City"}, "time_zone"),
        ({"time_zone": "../../etc/passwd"}, "time_zone"), ({"time_zone": "localtime"}, "time_zone"),
        ({"time_zone": "posix/UTC"}, "time_zone"), ({"instances": ["a b"]}, "instances"),
        ({"instances": "w1-i1"}, "instances"), ({"mode": "run"}, "mode"), ({"name": ""}, "name"),
        ({"weekly": True, "ends_at": "2026-12-06T01:00Z"}, "ends_at"), ({"ends_at": "2027-11-29T02:00Z"}, "ends_at"),
        ({"starts_at": "0001-01-01T00:00Z", "ends_at": "0001-01-01T01:00Z", "weekly": True}, "starts_at"),
        ({"starts_at": "9999-12-31T22:00Z", "ends_at": "9999-12-31T23:00Z", "time_zone": "Asia/Shanghai"}, "ends_at"),
    ],
)  # fmt: skip
def test_malformed_window_is_refused(admin_client, changes, field):
    answer = post(admin_client, **changes)
    assert (answer.status_code, field in answer.content.decode()) == (400, True)
    assert not MaintenanceWindow.objects.exists()


def test_window_that_is_off_never_opens(admin_client, window):
    path = f"{API}{window.pk}/"
    found = admin_client.get(path).json()
    assert found["is_open"]
    assert datetime.fromisoformat(found["opens_at"]) == window.starts_at
    found = admin_client.patch(path, {"enabled": False}, "application/json").json()
    assert (found["is_open"], found["opens_at"], found["closes_at"]) == (False, None, None)


@pytest.mark.parametrize(("group", "allowed"), [("Operator", True), ("Viewer", False), ("Team lead", False)])
def test_maintenance_is_planned_by_operators_alone(group, allowed):
    client = member(group)
    assert (post(client).status_code == 201) is allowed
    assert (client.get(f"{LIST}add/").status_code == 200) is allowed
    assert Client().get(API).status_code in (401, 403)


FORM = {
    "name": "nightly", "enabled": "on", "mode": "drain", "time_zone": "Asia/Shanghai", "weekly": "on",
    "starts_at_0": "2026-11-29", "starts_at_1": "02:00", "ends_at_0": "2026-11-29", "ends_at_1": "04:00",
}  # fmt: skip


def test_console_takes_times_of_the_zone(admin_client, instances):
    answer = admin_client.post(f"{LIST}add/", FORM | {"instances": ["w2-i1"]})
    assert answer.status_code == 302, answer.content.decode()
    row = MaintenanceWindow.objects.get()
    assert (row.starts_at, row.ends_at) == tuple(datetime(2026, 11, 28, hour, tzinfo=UTC) for hour in (18, 20))
    assert row.instances == ["w2-i1"]
    page = admin_client.get(f"{LIST}{row.pk}/change/").content.decode()
    assert 'value="02:00:00"' in page
    admin_client.post(f"{LIST}{row.pk}/change/", FORM | {"name": "weekly one"})
    assert "weekly one" in admin_client.get(LIST).content.decode()
    row.refresh_from_db()
    assert (row.starts_at.hour, row.instances) == (18, [])
    broken = admin_client.post(f"{LIST}add/", FORM | {"time_zone": "Nowhere", "name": "other"})
    assert "Nowhere is no time zone." in broken.content.decode()
    early = admin_client.post(f"{LIST}add/", FORM | {"starts_at_0": "0001-01-01", "name": "other"})
    assert "in the years from 2000 to 2999" in early.content.decode()


@pytest.mark.parametrize("day", ["2027-10-31", "2027-03-28"])
def test_clocks_of_the_console_forbid_no_time(admin_client, instances, settings, day):
    """There, 02:30 comes twice on the first day and not at all on the other."""
    settings.TIME_ZONE = "Europe/Berlin"
    form = FORM | {"starts_at_0": day, "starts_at_1": "02:30", "ends_at_0": day}
    assert admin_client.post(f"{LIST}add/", form).status_code == 302
    row = MaintenanceWindow.objects.get()
    for field, clock in ((row.starts_at, "02:30"), (row.ends_at, "04:00")):
        assert f"{field.astimezone(ZoneInfo('Asia/Shanghai')):%Y-%m-%d %H:%M}" == f"{day} {clock}"


def test_time_that_its_clock_skips_is_refused(admin_client, instances):
    skipped = {"starts_at_0": "2027-03-28", "starts_at_1": "02:30", "ends_at_0": "2027-03-28"}
    answer = admin_client.post(f"{LIST}add/", FORM | skipped | {"time_zone": "Europe/Berlin"})
    assert "The clock of Europe/Berlin skips this time." in answer.content.decode()
    assert not MaintenanceWindow.objects.exists()


def test_viewers_see_times_of_the_zone(window):
    begins = datetime(2100, 11, 28, 18, tzinfo=UTC)
    ends = begins + timedelta(hours=2)
    MaintenanceWindow.objects.update(starts_at=begins, ends_at=ends, time_zone="Asia/Shanghai")
    page = member("Viewer").get(f"{LIST}{window.pk}/change/").content.decode()
    assert "2100-11-29 02:00:00 CST" in page
    assert "2100-11-29 04:00:00 CST" in page
    assert "18:00:00" not in page


def test_opening_and_closing_are_one_row_each(window):
    for _ in range(2):
        settle(timezone.now())
    assert log() == [("schedule", "maintenance", "opened", "nightly")]
    late = MaintenanceWindow.objects.get()
    for _ in range(2):
        settle(timezone.now() + timedelta(hours=2))
    assert [entry[2] for entry in log()] == ["opened", "closed"]
    late.opened_at = None
    late.save()
    assert len(log()) == 2


def test_disabled_window_has_closed(window):
    settle(timezone.now())
    MaintenanceWindow.objects.update(enabled=False)
    settle(timezone.now())
    assert [entry[2] for entry in log()] == ["opened", "changed", "closed"]


@pytest.mark.django_db(transaction=True)
async def test_every_process_opens_and_one_tells(redis_server):
    link, seen = RedisLink(redis_server, timeout=30), []
    await link.execute("FLUSHALL")
    pools = [MaintenanceWindows(lambda: None) for _ in range(2)]
    watchers = [wanted_watcher(link, lambda wanted, each=each: each.take(wanted.windows)) for each in pools]
    logs = [WindowLog(each) for each in pools]
    for watcher in watchers:
        await watcher.refresh()
    now = timezone.now()
    await MaintenanceWindow(name="now", starts_at=now, ends_at=now + timedelta(hours=1)).asave()
    for watcher, each in zip(watchers, logs, strict=True):
        await watcher.refresh()
        seen.append(await each.tell())
    assert [[one.window.name for one in each.open] for each in pools] == [["now"], ["now"]]
    assert seen == [True, True]
    assert await AuditEntry.objects.filter(action="opened").acount() == 1
    await link.close()


@pytest.fixture
def held(instances):
    """One instance of two is in a window until 23:59 of a day far away."""
    until = datetime(2100, 1, 1, 23, 59, tzinfo=UTC).timestamp()
    beat(instances, "w2-i1", "draining")
    status = msgspec.json.decode(instances.get("lgw:instance:w2-i1"))
    status["maintenance"] = msgspec.to_builtins(Maintenance("nightly", Mode.DRAIN, until))
    instances.set("lgw:instance:w2-i1", msgspec.json.encode(status), ex=60)
    return instances


def test_pages_show_who_is_in_maintenance(admin_client, held):
    until = "2100-01-01 23:59 UTC"
    assert f"Instance w2-i1: in maintenance until {until} (nightly)." in admin_client.get("/admin/").content.decode()
    assert f"maintenance until {until}" in admin_client.get("/admin/bridge/instance/").content.decode()
    page = admin_client.get("/admin/bridge/instance/w2-i1/change/").content.decode()
    assert f"The maintenance window nightly holds it until {until}" in page
    found = {row["name"]: row["maintenance_until"] for row in admin_client.get("/api/instances/").json()["results"]}
    assert found == {"w1-i1": None, "w2-i1": "2100-01-01T23:59:00Z"}
    assert time.time() < datetime.fromisoformat(found["w2-i1"]).timestamp()


def by_command(*arguments):
    out = StringIO()
    call_command("maintenance_window", *arguments, stdout=out)
    return out.getvalue()


def test_command_plans_lists_and_deletes():
    times = ("--from=2100-01-02T02:00", "--to=2100-01-02T04:00")
    line = "nightly: stop w1-i1, w2-i1 from 2100-01-02T02:00+0800 to 2100-01-02T04:00+0800, each week\n"
    planned = ("--zone=Asia/Shanghai", "--weekly", "--stop", "--instances=w1-i1,w2-i1")
    assert by_command("add", "nightly", *times, *planned) == line
    assert MaintenanceWindow.objects.get().starts_at == datetime(2100, 1, 1, 18, tzinfo=UTC)
    assert by_command("add", "once", *times).startswith("once: drain all instances from 2100-01-02T02:00+0000 to")
    assert by_command("list").splitlines()[0] == line.strip()
    assert by_command("delete", "nightly") == "deleted: nightly\n"
    assert by_command("delete", "once")
    assert by_command("list") == ""
    assert [entry[:3] for entry in log()] == [
        ("command", "maintenance_window", each) for each in ("created", "created", "deleted", "deleted")
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("add", "x"), "needs --from and --to"), (("add",), "needs a NAME"), (("delete", "x"), "no window x"),
        (("add", "x", "--from=2100-01-02", "--to=2100-01-01"), "ends before it begins"),
        (("add", "x", "--from=2100-01-02", "--to=2100-01-03", "--zone=Nowhere"), "no time zone"),
        (("add", "x", "--from=tomorrow", "--to=2100-01-03"), "no date and time"),
        (("add", "x", "--from=2100-01-02", "--to=2100-01-03", "--stop", "--instances="), "names nothing"),
    ],
)  # fmt: skip
def test_command_says_what_is_wrong(arguments, words):
    with pytest.raises(CommandError, match=words):
        by_command(*arguments)
    assert not MaintenanceWindow.objects.exists()

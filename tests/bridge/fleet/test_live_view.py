"""One snapshot of the gateway, of what its processes report and of their heartbeats."""

import msgspec
import pytest

from bridge.fleet.live_view import LONGEST_ERROR, decoded, encode, live_view, without_people
from bridge.status.instance import InstanceStatus
from bridge.status.live import MOST_SHOWN, LiveKey, LiveLogin, LiveRates, LiveReport, LiveTurn
from bridge.status.states import InstanceState
from bridge.status.wanted import Maintenance, Mode
from gateway_project.lib import degraded


def status(name="w1-i1", process=1, **changes):
    facts = {
        "pid": 9, "generation": 1, "state": InstanceState.READY, "login": True, "in_flight": 2, "limit": 8,
        "restarts": 3, "last_error": "", "version": "2.11.1", "upstream": "lingma", "models": 6, "started_at": 1.0,
        "at": 1.0, "waiting": 5,
    }  # fmt: skip
    return InstanceStatus(name=name, process=process, **facts | changes)


def report(process=1, node="", at=1.0, **fields):
    given = {"instances": [], "in_flight": 1, "waiting": 2, "rates": LiveRates()}
    return LiveReport(f"{node}web-{process}", process, at, **given | fields)


def turn(id_, started_at=1.0):
    return LiveTurn(id_, 7, "alice", "m", "curl", started_at)


def view_of(*reports, statuses=(), modes=(), logins=()):
    return live_view(reports, statuses, modes, 1.0, logins)


def test_heartbeats_stand_in_for_reports():
    view = view_of(report(1), statuses=[status("w1-i1"), status("w2-i1", 2), status("w2-i2", 2)])
    assert [(each.name, each.in_flight, each.waiting) for each in view.processes] == [("web-1", 1, 2), ("web-2", 4, 5)]
    assert [each.name for each in view.instances] == ["w2-i1", "w2-i2"]
    assert [each.reports for each in view.processes] == [True, False]
    assert view_of(statuses=[status()]).rates is None
    assert [each.name for each in view_of(statuses=[status("a-w3-i1", 3)]).processes] == ["a/web-3"]


def test_latest_report_of_a_process_counts():
    view = view_of(report(at=2.0, in_flight=9), report(at=1.0), report(2, node="there/"))
    assert [(each.name, each.in_flight) for each in view.processes] == [("web-1", 9), ("there/web-2", 1)]


def test_turns_of_all_are_the_oldest_first():
    many = [turn(f"{number:03}", 5.0 - number) for number in range(60)]
    view = view_of(report(turns=many), report(2, turns=[turn("old", -99.0), *many]))
    assert len(view.turns) == MOST_SHOWN
    assert [each.id for each in view.turns[:3]] == ["old", "059", "059"]


def test_queue_has_a_line_for_each_key():
    lines = [LiveKey(1, "a", 2, 5.0), LiveKey(2, "b", 3, 4.0)]
    view = view_of(report(queue=lines), report(2, queue=[LiveKey(1, "a", 4, 3.0)]))
    assert view.queue == [LiveKey(1, "a", 6, 3.0), LiveKey(2, "b", 3, 4.0)]


def test_rates_add_up():
    view = view_of(report(rates=LiveRates(30, 1, 90, 100)), report(2, rates=LiveRates(10, 0, 10, 500)))
    assert view.rates == LiveRates(40, 1, 100, 200)


def test_first_tokens_count_by_turns_that_had_one():
    view = view_of(report(rates=LiveRates(90, 0, 90, 100, 90)), report(2, rates=LiveRates(90, 90, 10, 30_000, 10)))
    assert view.rates == LiveRates(180, 90, 100, 3_090, 100)


@pytest.mark.parametrize(
    ("modes", "held"), [([Mode.DRAIN, Mode.STOP], True), ([Mode.RUN, Mode.STOP], False), ([], False)]
)
def test_every_instance_held_is_said(modes, held):
    statuses = [status(f"w1-i{number}", mode=mode) for number, mode in enumerate(modes)]
    assert view_of(statuses=statuses).held is held


def test_maintenance_window_holds_its_instance():
    view = view_of(statuses=[status(maintenance=Maintenance("updates", Mode.DRAIN, 99.0))])
    assert view.held
    assert [(each.window, each.window_until) for each in view.instances] == [("updates", 99.0)]


def test_last_errors_are_short_and_without_secrets():
    [shown] = view_of(statuses=[status(last_error="token=abcdefghijkl " + "x" * 999)]).instances
    assert "abcdefghijkl" not in shown.last_error
    assert len(shown.last_error) == LONGEST_ERROR


def test_modes_say_why():
    view = view_of(modes=[degraded.Mode("redis", "password=abcdefghijkl", 1.0)])
    assert [(each.name, "abcdefghijkl" in each.why) for each in view.modes] == [("redis", False)]


def test_watcher_without_the_right_sees_no_people():
    login = LiveLogin(1, "mona", "logged_in", 0, 1, "", "")
    view = view_of(report(turns=[turn("a")], queue=[LiveKey(1, "alice", 1, 1.0)]), logins=[login])
    text = encode(without_people(view)).decode()
    assert not [word for word in ("alice", "mona") if word in text]
    assert "alice" in encode(view).decode()


def test_reports_of_another_version_are_left_out():
    [found] = decoded([b"{}", b"no json", msgspec.json.encode(report())])
    assert found == report()

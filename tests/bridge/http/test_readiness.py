"""What everybody may know of an instance that is not ready."""

import pytest

from bridge.http.readiness import OTHER, public_reason
from bridge.status.accounts import AccountState
from bridge.status.instance import InstanceStatus
from bridge.status.states import InstanceState

SECRET = "ws://user:hunter2@10.0.0.7:4711/path?token=hunter2"
KNOWN = {
    **{each.label: each.label for each in AccountState if not each.may_chat},
    "the program exited with code -9": "the program exited with code -9",
    f"the program exited with code 1 {SECRET}": "the program exited with code 1",
    f"connection lost: unreadable message {SECRET}": "the connection was lost",
    "the service did not answer in time": "the service did not answer in time",
    "another program listens on the port that was meant for it": "another program listens on its port",
    f"{SECRET}: no Lingma service answers there": "no Lingma service answers",
    f"/srv/alice/{SECRET}/.info.json: [Errno 2] No such file": "no Lingma service was found",
    f"{SECRET}: the server rejected it": OTHER,
    f"\n{SECRET}": OTHER,
    "": "",
}


def status(**fields):
    plain = {
        "name": "w1-i1", "process": 1, "pid": 0, "generation": 1, "state": InstanceState.BACKOFF, "login": False,
        "in_flight": 0, "limit": 8, "restarts": 0, "last_error": "", "version": "", "upstream": "lingma", "models": 0,
        "started_at": 0.0, "at": 0.0,
    }  # fmt: skip
    return InstanceStatus(**(plain | fields))


@pytest.mark.parametrize(("error", "reason"), KNOWN.items(), ids=range(len(KNOWN)))
def test_errors_are_reported_in_fixed_words(error, reason):
    assert public_reason(status(last_error=error)) == reason


@pytest.mark.parametrize("error", KNOWN, ids=range(len(KNOWN)))
def test_a_ready_instance_has_no_reason(error):
    assert public_reason(status(state=InstanceState.READY, last_error=error)) == ""

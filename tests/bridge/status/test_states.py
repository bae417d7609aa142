"""The states of an instance stand in one list, and few files name one of them."""

import ast
import re
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest
from django.utils import timezone
from django.utils.translation import override

from accounts.pages.trace_words import AGAINST, against
from bridge.admin.panels import Level, instance_figure, level_of, places_figure
from bridge.admin.troubles import needs_a_hand
from bridge.models import Instance
from bridge.status.accounts import AccountState, Remedy
from bridge.status.attempts import AttemptResult
from bridge.status.logins import LoginProblem
from bridge.status.states import OWN_STATES, InstanceState

ROOT = Path(__file__).parents[3]
LIST = ROOT / "bridge/status/states.py"
READERS = {
    "COOLING": {"bridge/pool/wait_policy.py", "bridge/pool/plans.py"},
    "READY": {"bridge/pool/plans.py"},
    "LOGIN_REQUIRED": {"bridge/pool/upkeep/upkeep.py"},
    "STOPPED": {"bridge/fleet/obeyed.py"},
    "GONE": {
        "bridge/admin/troubles.py",
        "bridge/admin/versions.py",
        "bridge/fleet/logins.py",
        "bridge/fleet/mirror.py",
        "bridge/fleet/orders.py",
        "bridge/fleet/pool_list.py",
        "bridge/management/commands/pool.py",
    },
}
"""Who asks for one state: whether all cool down, whether a pause goes on, whether it is to be given a login, whether
a stop was obeyed, and whether its heartbeat stopped. Who can take a turn is a list."""
OF_ALL = {"bridge/doctor/upstream.py", "bridge/alerts/checks.py"}
"""What tells people of states one by one."""


@cache
def files_by_state():
    """The files that name each state."""
    found = defaultdict(set)
    for path in ROOT.glob("bridge/**/*.py"):
        if path != LIST and "simulator" not in path.parts:
            for node in ast.walk(ast.parse(path.read_text())):
                if (
                    isinstance(node, ast.Attribute)
                    and node.attr.isupper()
                    and "InstanceState" in ast.unparse(node.value)
                ):
                    found[node.attr].add(str(path.relative_to(ROOT)))
    return found


@pytest.mark.parametrize("state", InstanceState)
def test_state_is_set_in_one_file(state):
    named = files_by_state()[state.name] - READERS.get(state.name, set()) - OF_ALL
    # The life cycle reads them, to say how long an instance may be away; what keeps the state knows the first, and
    # whether it takes turns.
    assert len(named - {"bridge/pool/instances/lifecycle.py", "bridge/pool/instances/current_state.py"}) <= 1


@pytest.mark.parametrize("state", InstanceState)
def test_table_and_page_take_state_from_list(state):
    assert dict(Instance._meta.get_field("state").choices)[state.value] == state.label
    assert state.badge or state is InstanceState.STOPPED


@pytest.mark.parametrize("state", AccountState)
def test_account_that_may_not_chat_says_what_helps(state):
    assert state.may_chat is (state.remedy is Remedy.NONE)
    assert bool(state.advice) is (state not in {AccountState.LOGGED_IN, AccountState.UNKNOWN})
    assert dict(Instance._meta.get_field("account").choices)[state.value] == state.label


def test_busy_instance_is_shown_as_one_that_serves():
    rows = [Instance(name="w1-i1", process=1, state=InstanceState.BUSY, in_flight=8, limit=8, seen_at=timezone.now())]
    assert level_of(rows, []) is Level.WELL
    assert (instance_figure(rows).value, places_figure(rows).value) == ("1 / 1", "8 / 8")
    assert not needs_a_hand(rows[0])
    assert InstanceState.BUSY in OWN_STATES


def test_words_of_another_build_are_read():
    assert AccountState("of_a_newer_build") is AccountState.UNKNOWN
    assert AttemptResult("of_a_newer_build") is AttemptResult.NONE
    assert LoginProblem("of_a_newer_build") is LoginProblem.NONE


@pytest.mark.parametrize("state", InstanceState)
def test_request_page_has_words_for_state(state):
    """From the list: rooms of access know no instances."""
    assert state.value not in AGAINST
    assert against(state.value) == state.past != ""
    with override("zh-hans"):
        assert re.search("[一-鿿]", against(state.value))


def test_state_of_a_later_build_is_shown():
    assert against("hibernating") == "hibernating"

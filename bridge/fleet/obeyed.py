"""What instances have not done yet of an order, as their heartbeats tell: for who waits until it is done."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from bridge.fleet.orders import Action
from bridge.fleet.sizes import NAME
from bridge.models.pool_size import EVERY_PROCESS
from bridge.pool.instances.orders import EVERY, Order
from bridge.status.instance import InstanceStatus
from bridge.status.states import InstanceState
from bridge.status.transitions import Transition
from bridge.status.wanted import Mode

HEARD_SEC: Final = 6.0
"""An order is obeyed within two seconds, and heartbeats are two seconds apart: later than this it has begun."""
SILENT: Final = "no sign of life"


@dataclass(frozen=True, slots=True)
class Given:
    """An order that was given: to whom, what is wanted of each since then, and what they told before."""

    action: Action
    names: frozenset[str] | None
    """None: whatever there is."""
    orders: Mapping[str, Order] = field(default_factory=dict)
    before: Mapping[str, InstanceStatus] = field(default_factory=dict)
    size: int = 0
    process: int = EVERY_PROCESS
    attempts: Sequence[int] = ()
    """By which logins are made anew, of RELOGIN."""


def undone(given: Given, found: Collection[InstanceStatus]) -> list[str]:
    """One line for each instance that has not done it yet, in their order."""
    there = {each.name: each for each in found}
    if given.action is Action.SIZE:
        return _sizes_undone(given, found)
    if given.names is None and not there:
        return [f"no web process gives a {SILENT.removeprefix('no ')}"]
    names = there if given.names is None else given.names
    lines = []
    for name in sorted(names):
        if (status := there.get(name)) is None:
            lines.append(f"{name}: {SILENT}")
        elif not _has_done(given, status):
            lines.append(f"{name}: {_told(status)}")
    return lines


def _has_done(given: Given, status: InstanceStatus) -> bool:
    order = given.orders.get(status.name) or given.orders.get(EVERY) or Order()
    return DONE[given.action](status, order, given.before.get(status.name))


def _works(status: InstanceStatus) -> bool:
    """As well as its orders let it: it takes turns, or would."""
    return status.state.is_up and not status.state.needs_attention and not status.replacing


def _drained(status: InstanceStatus, _order: Order, _before: InstanceStatus | None) -> bool:
    return status.mode is not Mode.RUN and not status.in_flight


def _stopped(status: InstanceStatus, _order: Order, _before: InstanceStatus | None) -> bool:
    return status.mode is Mode.STOP and status.state is InstanceState.STOPPED


def _started(status: InstanceStatus, _order: Order, _before: InstanceStatus | None) -> bool:
    return status.mode is Mode.RUN and status.state.takes_turns


def _restarted(status: InstanceStatus, _order: Order, before: InstanceStatus | None) -> bool:
    if before is None or status.generation == before.generation:
        return before is None and _works(status)
    # A successor that was on its way already has taken over, and is itself yet to be restarted.
    return _works(status) and status.started_at > before.at


def _cooled(status: InstanceStatus, order: Order, _before: InstanceStatus | None) -> bool:
    return status.cool_until >= order.cool_until and not status.in_flight


def _cleared(status: InstanceStatus, _order: Order, _before: InstanceStatus | None) -> bool:
    return status.cool_until <= status.at and not status.cools_for and _works(status)


def _asked(status: InstanceStatus, _order: Order, before: InstanceStatus | None) -> bool:
    last = before.smoke.at if before is not None and before.smoke is not None else 0.0
    return status.smoke is not None and status.smoke.at != last and status.smoke.ok


def _logged_in(status: InstanceStatus, order: Order, _before: InstanceStatus | None) -> bool:
    """Those without a login of ours are not meant."""
    if order.login is None:
        return True
    has = status.held_login, status.login_generation
    return _works(status) and has[0] == order.login.login and has[1] > order.login.generation


def _moved(status: InstanceStatus, order: Order, before: InstanceStatus | None) -> bool:
    if order.version is not None:
        return _works(status) and status.installed == order.version.version
    # What the settings say has no name to wait for: it is another, or none has been started in time.
    if before is None or status.installed != before.installed:
        return _works(status)
    return _works(status) and not status.not_replaced and status.at - before.at >= HEARD_SEC


def since(given: Given, steps: Mapping[str, Sequence[Transition]]) -> list[str]:
    """What has happened to each instance since the order, by its timeline, which has the latest step first."""
    lines = []
    for name, before in sorted(given.before.items()):
        found = [each for each in reversed(steps.get(name, ())) if each.at > before.at]
        if found and (given.names is None or name in given.names):
            told = (f"{each.why.label}: {each.detail}" if each.detail else each.why.label for each in found)
            lines.append(f"{name} since the order: {' '.join(', then '.join(told).split())}")
    return lines


Done = Callable[[InstanceStatus, Order, InstanceStatus | None], bool]
DONE: Final[Mapping[Action, Done]] = {
    Action.DRAIN: _drained,
    Action.STOP: _stopped,
    Action.START: _started,
    Action.RESTART: _restarted,
    Action.COOL: _cooled,
    Action.CLEAR: _cleared,
    Action.SMOKE: _asked,
    Action.RELOGIN: _logged_in,
    Action.MOVE: _moved,
}


def _sizes_undone(given: Given, found: Iterable[InstanceStatus]) -> list[str]:
    processes: dict[str, dict[int, InstanceStatus]] = {}
    for each in found:
        if (match := NAME.fullmatch(each.name)) and given.process in (EVERY_PROCESS, each.process):
            processes.setdefault(each.name[: match.start(2)], {})[int(match[2])] = each
    if not processes:
        who = "no web process" if given.process == EVERY_PROCESS else f"web-{given.process}: none of its instances"
        return [f"{who} gives a {SILENT.removeprefix('no ')}"]
    lines = []
    for prefix, there in sorted(processes.items()):
        for number in sorted({*there, *range(1, given.size + 1)}):
            status, is_wanted = there.get(number), number <= given.size
            if status is None:
                lines.append(f"{prefix}{number}: {SILENT}")
            elif not is_wanted or not _works(status):
                lines.append(f"{status.name}: {_told(status)}{'' if is_wanted else ', has not left yet'}")
    return lines


def _told(status: InstanceStatus) -> str:
    """What an instance is at, for who waits for something else."""
    told = [status.state.label]
    if status.in_flight:
        told.append(f"{status.in_flight} {'turn' if status.in_flight == 1 else 'turns'} in flight")
    if status.replacing:
        told.append("a successor is starting")
    if status.maintenance is not None:
        told.append(f"maintenance window {status.maintenance.name}")
    if status.smoke is not None and not status.smoke.ok:
        told.append(f"its last short chat failed: {status.smoke.error}")
    if status.last_error and (status.state.needs_attention or status.not_replaced):
        told.append(status.last_error)
    # On one line: a service's own words may have several.
    return " ".join(", ".join(told).split())

"""What operators want of instances: written to the database, and read by every web process within a second."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

import redis
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext

from bridge.fleet import attempts, login_refresh, mirror, versions
from bridge.models import Instance, InstanceOrder, Login, Version
from bridge.models.order import ALL as ALL
from bridge.models.order import mode_of
from bridge.pool.instances.orders import EVERY, Order
from bridge.status.attempts import AttemptReason
from bridge.status.logins import WantedLogin
from bridge.status.states import InstanceState
from bridge.status.versions import WantedVersion
from bridge.status.wanted import Mode
from gateway_project.lib.database.first_change import changed

LONGEST_SEC: Final = 86_400
"""No instance cools down for longer than a day: who wants that drains or stops it."""


class Action(StrEnum):
    """What can be done to an instance. START ends DRAIN, STOP and COOL; CLEAR ends every pause of its own."""

    DRAIN = "drain"
    RESTART = "restart"
    STOP = "stop"
    START = "start"
    COOL = "cool"
    CLEAR = "clear"
    SMOKE = "smoke"
    RELOGIN = "relogin"
    MOVE = "move"
    """To a version, which `move` is told."""
    SIZE = "size"
    """Of the pool: how many instances there are, which `sizes.order` is told."""


HOLDS: Final = frozenset({Action.DRAIN, Action.STOP, Action.START})
"""For ALL these are one order, which also holds for whatever starts later; the others are for what is there."""


class NoLogin(Exception):
    """None of the instances can be logged in anew; the message says why."""


class UnknownInstance(Exception):
    """There is no instance of that name. The message names those that are there."""


def read_orders() -> dict[str, Order]:
    """By instance; EVERY is for all others. Raise django.db.Error."""
    # What logins consist of stays where it is: only who needs it asks for it.
    found = InstanceOrder.objects.select_related("login", "version").defer("login__bundle", "login__credentials")
    rows = {row.name: row for row in found}
    of_all = rows.pop(ALL, None)
    renewals = login_refresh.renewals()
    default = versions.wanted(Version.objects.filter(is_default=True).first())
    every = Order(mode_of(None, of_all), version=default)
    orders = {name: order_of(row, of_all, default, renewals) for name, row in rows.items()}
    return orders if every == Order() else {EVERY: every} | orders


def order_of(
    row: InstanceOrder, of_all: InstanceOrder | None, default: WantedVersion | None, renewals: Mapping[int, float]
) -> Order:
    """The order that a row describes, beside that for ALL."""
    times = (_unix(row.restart_before), _unix(row.cool_until), _unix(row.cleared_at))
    version = versions.wanted(row.version) or default
    login = _wanted(row.login, renewals)
    return Order(mode_of(row, of_all), *times, smoke_at=_unix(row.smoke_at), version=version, login=login)


def _wanted(login: Login | None, renewals: Mapping[int, float]) -> WantedLogin | None:
    if login is None:
        return None
    return WantedLogin(
        login.pk, login.generation, login.brought_generation,
        # Whole seconds, as reports have them: a moment is compared with what an account says.
        _unix(login.expires_at), login.endpoint, renewals.get(login.pk, math.inf),
    )  # fmt: skip


def _unix(moment: datetime | None) -> float:
    return moment.timestamp() if moment is not None else 0.0


def names_of(name: str, redis_url: str) -> list[str]:
    """The instances that a name means: ALL, or one of them. Raise UnknownInstance."""
    there = _there(redis_url)
    if name == ALL and there:
        return there
    if name not in there:
        known = ", ".join(sorted(there)) or gettext("none")
        raise UnknownInstance(
            gettext("There is no instance %(name)s. There are: %(known)s.") % {"name": name, "known": known}
        )
    return [name]


def _there(redis_url: str) -> list[str]:
    try:
        return sorted(each.name for each in mirror.current(redis_url) if each.state != InstanceState.GONE)
    except redis.RedisError:
        return sorted(Instance.objects.values_list("name", flat=True))


def order(action: Action, name: str, redis_url: str, *, seconds: int = 300) -> list[str]:
    """Have that instance do it, or ALL of them; the names of those that are there. Raise UnknownInstance, NoLogin."""
    if name != ALL or action not in HOLDS:
        names = names_of(name, redis_url)
        give(action, names, seconds=seconds)
        return names
    cooling = InstanceOrder.objects.exclude(name=ALL).filter(cool_until__gt=timezone.now())
    # A start also ends pauses, which are each instance's own.
    give(action, [ALL, *(cooling.values_list("name", flat=True) if action is Action.START else ())])
    return _there(redis_url)


def move(name: str, version: Version | None, redis_url: str) -> list[str]:
    """Have an instance run that version, or ALL of them, and whatever starts later; each without a gap.

    None: one instance runs the default again, ALL what the settings say, and there is no default.
    The names of those that are there. Raise UnknownInstance, and UnknownVersion where it has been deleted meanwhile.
    """
    names = names_of(name, redis_url)
    attached = Instance.objects.filter(name__in=names, upstream="attached").values_list("name", flat=True)
    if attached:
        known = gettext("%(names)s: attached services run the version they run.")
        raise UnknownInstance(known % {"names": ", ".join(sorted(attached))})
    with transaction.atomic():
        if name == ALL:
            versions.make_default(version)
        elif version is not None:
            versions.as_it_is(version)
        moved = InstanceOrder.objects.exclude(version=None).values_list("name", flat=True) if name == ALL else names
        for each in sorted(moved):
            changed(InstanceOrder, _setting(version=None if name == ALL else version), name=each)
    return names


def give(action: Action, names: Collection[str], *, seconds: int = 300) -> None:
    """Have these instances do it, in whatever process they are, within two seconds; `seconds` is for COOL.

    For MOVE there is `move`, for SIZE `sizes.order`. Raise NoLogin for RELOGIN.
    """
    if action == Action.RELOGIN:
        return _log_in_anew(names)
    now = timezone.now()
    changes: dict[Action, dict[str, object]] = {
        Action.DRAIN: {"mode": Mode.DRAIN, "mode_at": now},
        Action.STOP: {"mode": Mode.STOP, "mode_at": now},
        Action.START: {"mode": Mode.RUN, "mode_at": now, "cool_until": None},
        Action.RESTART: {"restart_before": now},
        Action.COOL: {"cool_until": now + timedelta(seconds=min(seconds, LONGEST_SEC))},
        Action.CLEAR: {"cool_until": None, "cleared_at": now},
        Action.SMOKE: {"smoke_at": now},
    }
    with transaction.atomic():
        for name in sorted(names):
            changed(InstanceOrder, _setting(**changes[action]), name=name)
    return None


def _setting(**columns: object) -> Callable[[InstanceOrder], None]:
    def change(row: InstanceOrder) -> None:
        for column, value in columns.items():
            setattr(row, column, value)

    return change


def _log_in_anew(names: Collection[str]) -> None:
    """Begin an attempt for each of their logins, once; one that runs already is enough."""
    logins = Login.objects.filter(orders__name__in=names).defer("bundle", "credentials").distinct().order_by("pk")
    if not logins:
        words = gettext(
            "No login of this gateway is assigned to %(names)s. Give it one: the console's Logins, or manage.py "
            "lingma_login with --instances."
        )
        raise NoLogin(words % {"names": ", ".join(names)})
    with transaction.atomic():
        for login in logins:
            try:
                attempts.begin(Login.objects.get(pk=login.pk), attempts.way_of(login), AttemptReason.OPERATOR)
            except ValidationError as exc:
                raise NoLogin(f"{login.label}: {' '.join(exc.messages)}") from None

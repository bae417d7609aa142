"""The table of checks: one entry is one kind of alert about a state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import timedelta
from typing import Final, NamedTuple

from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.alerts.words import Kind, Severity, listed
from accounts.models import Alert
from bridge.alerts.view import View
from bridge.fleet.behaviours import BEHAVIOUR_CHANGED
from bridge.fleet.mirror import VERSION_CHANGED, is_as_installed
from bridge.models import Instance
from bridge.status.accounts import AccountState, Remedy
from bridge.status.states import TAKING_TURNS, InstanceState

Found = Mapping[str, Collection[str]] | None
"""Subjects of alerts to the names of what is in the state; None: nobody can tell now, so nothing begins or ends."""

MOST_SMOKES: Final = 2
"""So many short chats in a row may not fail."""
UNFILED: Final = frozenset({"worker", "redis", "flush", "database"})
"""While one of these modes is on, rows of the last minutes may not be there yet."""
LASTING: Final = frozenset({"limited", "failed"})
"""Reasons of pauses that are an alert when they last; of one for a plan that is used up another tells."""
HERE: Final = "gateway"
"""The name of what is in the state, where that is no instance."""


class Check(NamedTuple):
    """One kind of alert about a state. Times are seconds: how long the state has to last, and to be over."""

    kind: str
    severity: Severity
    name: object
    text: object
    """With `%(names)s`, `%(time)s`, and for an account `%(what)s`."""
    find: Callable[[View], Found]
    begins_after: float
    ends_after: float
    advice: object = ""


def _instances(view: View, is_in: Callable[[Instance], bool]) -> Found:
    return None if view.instances is None else {"": [each.name for each in view.instances if is_in(each)]}


def _in_state(*states: InstanceState) -> Callable[[View], Found]:
    return lambda view: _instances(view, lambda each: each.state in states and not (_is_blocked(each) or _waits(each)))


def _mode(name: str, *hidden_by: str) -> Callable[[View], Found]:
    """A degraded mode; while one of `hidden_by` is on, nobody knows that it is over."""

    def find(view: View) -> Found:
        if name in view.modes:
            return {"": [HERE]}
        return None if view.modes.intersection(hidden_by) else {}

    return find


def _not_replaced(view: View) -> Found:
    return _instances(view, lambda each: each.not_replaced)


def _named_twice(view: View) -> Found:
    return _instances(view, lambda each: each.is_named_twice)


def _without_models(view: View) -> Found:
    """Only of those that take turns: whoever is not logged in is offered nothing."""
    return _instances(view, lambda each: each.state in TAKING_TURNS and not each.models_offered)


def _smoke_fails(view: View) -> Found:
    return _instances(view, lambda each: each.smoke is not None and each.smoke.failed >= MOST_SMOKES)


def _none_ready(view: View) -> Found:
    if view.instances is None:
        return None
    if any(each.state in TAKING_TURNS for each in view.instances):
        return {}
    # What was planned is no alert.
    there = [each for each in view.instances if each.state != InstanceState.GONE]
    return {} if there and all(each.maintenance for each in there) else {"": [HERE]}


def _is_blocked(instance: Instance) -> bool:
    return AccountState(instance.account).remedy is Remedy.ADMINISTRATOR


def _waits(instance: Instance) -> bool:
    """Its account gets well by itself, or by somebody who sees to the network: never by a login."""
    account = AccountState(instance.account)
    return instance.state == InstanceState.DEGRADED and account.remedy is Remedy.TIME and bool(account.advice)


def _waiting(view: View) -> Found:
    if view.instances is None:
        return None
    return _by((each.account, each.name) for each in view.instances if _waits(each))


def _blocked(view: View) -> Found:
    if view.instances is None:
        return None
    blocked = [each for each in view.instances if each.state != InstanceState.GONE and _is_blocked(each)]
    return _by((each.account, each.name) for each in blocked)


def _expiring(view: View) -> Found:
    last = view.now + timedelta(days=view.options.login_days)
    return _instances(
        view,
        lambda each: each.login and each.login_expires_at is not None and view.now < each.login_expires_at < last,
    )


def _not_taken(view: View) -> Found:
    """While Redis is away, no login worker can be told of anything."""
    return None if "redis" in view.modes else {"": view.not_taken}


def _failing_turns(view: View) -> Found:
    options = view.options
    is_bad = view.turns >= options.least_turns and view.failed * 100 >= options.error_percent * view.turns
    # While rows are not filed, an hour without failures may be one without rows.
    if not is_bad and view.modes & UNFILED:
        return None
    return {"": [HERE]} if is_bad else {}


def _crashing(view: View) -> Found:
    if not view.crashing and view.modes & UNFILED:
        return None
    return {"": view.crashing}


def _without_quota(view: View) -> Found:
    """Those that have failed a turn for it, and those that are left alone: their turns have gone to others."""
    there = [each for each in view.instances or () if each.state != InstanceState.GONE]
    pausing = {each.name for each in there if each.cools_for == "no_plan"}
    if not view.without_quota and not pausing and (view.instances is None or view.modes & UNFILED):
        return None
    return {"": sorted({*view.without_quota, *pausing})}


def _cooling(view: View) -> Found:
    """Those that the gateway itself leaves alone; a pause and the turn that tries belong together."""
    return _instances(view, lambda each: each.cools_for in LASTING and each.state != InstanceState.GONE)


def _queue(view: View) -> Found:
    if view.instances is None:
        return None
    waiting = {each.web_process: each.waiting or 0 for each in view.instances if each.state != InstanceState.GONE}
    return {"": [HERE]} if sum(waiting.values()) >= view.options.queue_length else {}


def _takes_more(part: str) -> Callable[[View], Found]:
    """Of the instances that take more of their machine than the option for that part says."""

    def find(view: View) -> Found:
        most = getattr(view.options, f"{part}_mb") << 20
        return _instances(view, lambda each: 0 < most < (getattr(each, part) or 0))

    return find


def _stuck(view: View) -> Found:
    return _instances(view, lambda each: each.stuck > 0)


def _versions(view: View) -> Found:
    """Those that report another version than was installed, or, where that is not known, than most of their kind."""
    if view.instances is None:
        return None
    up = [each for each in view.instances if each.version and each.state != InstanceState.GONE]
    # Which version somebody has chosen says nothing of what the others should be.
    usual = {
        upstream: Counter(each.version for each in up if each.upstream == upstream).most_common(1)[0][0]
        for upstream in {each.upstream for each in up}
    }
    drifted = [
        each for each in up if (not is_as_installed(each) if each.installed else each.version != usual[each.upstream])
    ]
    return {"": [f"{each.name} ({each.version})" for each in drifted]}


def _by(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for subject, name in pairs:
        found.setdefault(subject, []).append(name)
    return found


CHECKS: Final = (
    Check(
        "none_ready", Severity.CRITICAL, _("no instance ready"), _("no instance can take a turn since %(time)s."),
        _none_ready, 30, 30, _("See the list of instances: each says why."),
    ),
    Check(
        "login_needed", Severity.CRITICAL, _("login needed"), _("%(names)s: not logged in since %(time)s."),
        _in_state(InstanceState.LOGIN_REQUIRED), 60, 30, _("Log in again: no turn runs there until then."),
    ),
    Check(
        "login_expiring", Severity.WARNING, _("login expires"), _("%(names)s: the login ends within some days."),
        _expiring, 0, 60, _("Log in again before it does; the list of instances has the times."),
    ),
    Check(
        "login_person", Severity.CRITICAL, _("somebody has to log in"),
        _("%(names)s: somebody has to log in to Lingma, since %(time)s."),
        lambda view: {"": view.need_person}, 0, 30, _("It is done on the page of the login; no program can."),
    ),
    Check(
        "login_worker_away", Severity.CRITICAL, _("login worker away"),
        _("%(names)s: no login worker took the log-in, since %(time)s."),
        _not_taken, 0, 30,
        _("See whether it runs: make run starts it, python -m gateway_project.supervise login-worker does alone."),
    ),
    Check(
        "account_blocked", Severity.CRITICAL, _("account blocked"), _("%(names)s: %(what)s, since %(time)s."),
        _blocked, 60, 30,
    ),
    Check(
        "account_unreachable", Severity.WARNING, _("account cannot be reached"),
        _("%(names)s: %(what)s, since %(time)s."), _waiting, 120, 60,
    ),
    Check(
        "instances_failing", Severity.WARNING, _("instances fail"),
        _("%(names)s: failed, degraded, backing off or starting since %(time)s."),
        # One that hangs at each start is by turns starting and backing off.
        _in_state(InstanceState.FAILED, InstanceState.DEGRADED, InstanceState.BACKOFF, InstanceState.STARTING), 120, 60,
        _("Their last errors are in the list of instances."),
    ),
    Check(
        "instances_gone", Severity.WARNING, _("instances gone"), _("%(names)s: no sign of life since %(time)s."),
        _in_state(InstanceState.GONE), 60, 30, _("Their web process has ended, or has lost Redis; see its log."),
    ),
    Check(
        "named_twice", Severity.CRITICAL, _("two instances of one name"),
        _("%(names)s: another gateway on the same Redis has an instance of that name, since %(time)s."),
        _named_twice, 0, 60, _("Give each machine a NODE_NAME of its own, or a Redis of its own."),
    ),
    Check(
        "not_replaced", Severity.WARNING, _("instance not replaced"),
        _("%(names)s: a successor is wanted and does not work, since %(time)s."), _not_replaced, 0, 30,
        _("What runs goes on. Its last error says why; the page of the instance has all tries."),
    ),
    Check(
        "no_models", Severity.WARNING, _("no models"), _("%(names)s: the account offers no model, since %(time)s."),
        _without_models, 60, 30, _("See whether its account has a plan, or an administrator allows it models."),
    ),
    Check(
        "smoke_failing", Severity.WARNING, _("short chats fail"),
        _("%(names)s: two short chats in a row failed, since %(time)s."), _smoke_fails, 0, 30,
        _("The page of the instance says why. The alert ends with the next one that is answered."),
    ),
    Check(
        "turns_failing", Severity.WARNING, _("many turns fail"),
        _("many of the turns of five minutes failed, since %(time)s."), _failing_turns, 0, 300,
        _("The usage pages show which ones, and why."),
    ),
    Check(
        "prompts_crash", Severity.CRITICAL, _("prompts end the service"),
        _("the service exits over requests of these keys, since %(time)s: %(names)s."), _crashing, 0, 300,
        _("They are refused for an hour. The usage pages have the requests; tell whoever has the key."),
    ),
    Check(
        "quota_used_up", Severity.CRITICAL, _("quota used up"),
        _("%(names)s: the plan of the Lingma account is used up, or there is none, since %(time)s."),
        _without_quota, 0, 60, _("Have the plan renewed, or give them another login. It ends with a turn that works."),
    ),
    Check(
        "cooling_long", Severity.WARNING, _("long pause"),
        _("%(names)s: rate limited, or most turns fail, since %(time)s."), _cooling, 120, 60,
        _("They are tried again by themselves. More logins share the load; Clear pauses tries at once."),
    ),
    Check(
        "queue_long", Severity.WARNING, _("queue long"), _("many turns wait for a place since %(time)s."), _queue, 60,
        120, _("More instances or accounts take more turns at once."),
    ),
    Check(
        "turns_stuck", Severity.WARNING, _("turns stand still"),
        _("%(names)s: nothing comes of turns that run there, since %(time)s."), _stuck, 0, 30,
        _("They end by themselves in a while. See whether Lingma hangs, or restart the instance."),
    ),
    Check(
        "memory_high", Severity.WARNING, _("much memory"), _("%(names)s: more memory than usual, since %(time)s."),
        _takes_more("memory"), 60, 60, _("Restart them in a quiet hour: turns that run are finished."),
    ),
    Check(
        "disk_high", Severity.WARNING, _("large work directory"),
        _("%(names)s: a work directory larger than usual, since %(time)s."), _takes_more("disk"), 60, 60,
        _("See what lies there; logs and caches may be deleted while the instance is stopped."),
    ),
    Check(
        "versions_differ", Severity.WARNING, _("versions differ"),
        _("%(names)s: not the version that was installed, or that others have, since %(time)s."), _versions, 300, 60,
        _("Restart them, or see whether they have updated themselves."),
    ),
    Check(
        "ledger_wrong", Severity.CRITICAL, _("ledger does not add up"),
        _("turns that were admitted are neither filed nor open, since %(time)s."),
        _mode("ledger", "redis", "database", "worker", "flush"), 0, 60,
        _("manage.py reconcile_usage --json has the hours and days."),
    ),
    Check(
        "rows_wait", Severity.WARNING, _("usage is not filed"), _("usage rows cannot be filed since %(time)s."),
        _mode("flush", "redis", "worker"), 60, 60, _("They are kept. The log of the worker says why."),
    ),
    Check(
        "disk_full", Severity.CRITICAL, _("disk"), _("the disk takes nothing more since %(time)s."),
        _mode("disk", "redis", "worker"), 30, 120, _("Make room in DATA_DIR."),
    ),
    Check(
        "redis_away", Severity.CRITICAL, _("Redis away"), _("Redis does not answer since %(time)s."),
        _mode("redis"), 30, 30, _("Turns go on without sessions reused. See whether it runs, and its memory."),
    ),
    Check(
        "worker_away", Severity.CRITICAL, _("worker away"), _("the worker gives no sign of life since %(time)s."),
        _mode("worker", "redis"), 30, 30, _("Usage rows wait in Redis. See whether the worker runs."),
    ),
    Check(
        "beat_away", Severity.CRITICAL, _("scheduler away"), _("the scheduler gives no sign of life since %(time)s."),
        _mode("beat", "redis"), 30, 30, _("Nothing is cleaned or looked at. See whether beat runs."),
    ),
)  # fmt: skip


def kind_of(check: Check) -> Kind:
    """What `accounts.alerts` needs to know of it."""

    def sentence(alert: Alert, since: str) -> str:
        what, advice = _of_account(alert.subject) if alert.subject else ("", str(check.advice))
        said = str(check.text) % {"names": listed(alert), "time": since, "what": what}
        return f"{said} {advice}".strip()

    return Kind(sentence, "facts", check.name, check.severity, check.begins_after, check.ends_after)


def _of_account(name: str) -> tuple[str, str]:
    """What is wrong with an account, and what to do. Alerts are kept: another build may have named the state."""
    account = AccountState(name)
    return (name, "") if account != name else (gettext(account.label), account.advice and gettext(account.advice))


def _version_changed(alert: Alert, since: str) -> str:
    return gettext("another version since %(time)s: %(names)s.") % {"names": listed(alert), "time": since}


def _behaviour_changed(alert: Alert, since: str) -> str:
    words = gettext("a short question is answered in another way, since %(time)s: %(names)s. %(advice)s")
    advice = gettext("See whether turns are as they should be, or move the instance to another version.")
    return words % {"names": listed(alert), "time": since, "advice": advice}


KINDS: Final = {
    **{check.kind: kind_of(check) for check in CHECKS},
    BEHAVIOUR_CHANGED: Kind(_behaviour_changed, "facts", _("another behaviour"), Severity.WARNING),
    VERSION_CHANGED: Kind(_version_changed, "facts", _("version changed"), Severity.INFO),
}
